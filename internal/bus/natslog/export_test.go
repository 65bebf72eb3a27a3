package natslog

import "time"

// SetWithin shortens how long an append may take, so that a test need not wait
// for eight seconds.
func (l *Log) SetWithin(d time.Duration) { l.writer.within = d }
