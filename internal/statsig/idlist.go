package statsig

// An IDList is an entry of the answer to get_id_lists: where the file of a list is
// and how far it has come.
type IDList struct {
	Name         string `json:"name"`
	Size         int64  `json:"size"`         // bytes of the file by now
	CreationTime int64  `json:"creationTime"` // of the file, milliseconds; never falls for a list
	URL          string `json:"url"`          // absolute
	FileID       string `json:"fileID"`       // another one: the file was rewritten, read it from its beginning
}
