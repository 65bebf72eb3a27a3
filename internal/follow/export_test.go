package follow

// DecodeSnapshot is for fuzzing.
var DecodeSnapshot = decodeSnapshot
