package finetune

import (
	"cmp"
	"errors"
	"slices"

	pb "github.com/segmind/finetune-gateway/client/go/finetunev1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// EventKind says what an Event is.
type EventKind int

const (
	// Snapshot is a job as it was when the watch began.
	Snapshot EventKind = iota + 1
	// Synced: all jobs that there were have been told; what follows is live.
	Synced
	// Created: the job is new.
	Created
	// Updated: the job has changed, or now matches the filter.
	Updated
	// Left: the job matches no longer; FineTune is how it was last seen.
	Left
)

func (k EventKind) String() string {
	return [...]string{"", "snapshot", "synced", "created", "updated", "left"}[k]
}

// Event is what a watch tells. FineTune is nil for Synced; it is shared by all watches, so do not change it.
type Event struct {
	Kind     EventKind
	FineTune *pb.FineTune
}

// subscriber is one local watcher: which jobs it wants, and what it has yet to be told. A slow one has one event a job waiting, never
// a growing queue: a later change takes the place of an earlier one. Its owner locks.
type subscriber struct {
	names  map[string]bool
	where  func(*pb.FineTune) bool
	wake   chan struct{} // Holds something once there is something new.
	synced bool
	failed error

	matched map[string]bool
	told    map[string]bool
	// In order; the key of Synced is "". A dropped event leaves a hole.
	queue   []*Event
	pending map[string]int
	first   int // The number of queue[0].
}

func newSubscriber(names []string, where func(*pb.FineTune) bool) *subscriber {
	s := &subscriber{where: where, wake: make(chan struct{}, 1), matched: map[string]bool{}, told: map[string]bool{}, pending: map[string]int{}}
	if len(names) > 0 {
		s.names = map[string]bool{}
		for _, name := range names {
			s.names[name] = true
		}
	}
	return s
}

func (s *subscriber) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscriber) push(key string, event *Event) {
	s.pending[key] = s.first + len(s.queue)
	s.queue = append(s.queue, event)
	s.signal()
}

// drop takes a waiting event out, if there is one.
func (s *subscriber) drop(key string) *Event {
	at, ok := s.pending[key]
	if !ok {
		return nil
	}
	event := s.queue[at-s.first]
	s.queue[at-s.first] = nil
	delete(s.pending, key)
	s.compact()
	return event
}

// compact keeps the holes from outnumbering the events.
func (s *subscriber) compact() {
	if len(s.queue) < 2*len(s.pending)+16 {
		return
	}
	kept := make([]*Event, 0, len(s.pending))
	for _, event := range s.queue {
		if event == nil {
			continue
		}
		s.pending[event.FineTune.GetName()] = len(kept)
		kept = append(kept, event)
	}
	s.queue, s.first = kept, 0
}

func (s *subscriber) tell(kind EventKind, job *pb.FineTune) {
	name := job.GetName()
	if s.names != nil && !s.names[name] {
		return
	}
	if s.where != nil {
		switch {
		case kind != Left && s.where(job):
			s.matched[name] = true
		case s.matched[name]:
			delete(s.matched, name)
			kind = Left
		default:
			return
		}
	}
	waiting := s.drop(name)
	if kind == Left && !s.told[name] {
		return
	}
	if kind != Left && s.told[name] {
		kind = Updated
	} else if waiting != nil && kind == Updated {
		// It takes the place of what would have made the job known; behind Synced it is no part of the snapshot any more.
		kind = waiting.Kind
		if _, behind := s.pending[""]; behind && kind == Snapshot {
			kind = Created
		}
	}
	s.push(name, &Event{kind, job})
}

func (s *subscriber) sync() {
	if !s.synced {
		s.synced = true
		s.push("", &Event{Kind: Synced})
	}
}

func (s *subscriber) end(err error) {
	s.failed = err
	s.signal()
}

// next is the next event, or nil if there is none yet; after all events, what ended the watch.
func (s *subscriber) next() (*Event, error) {
	for len(s.queue) > 0 {
		event := s.queue[0]
		s.queue = s.queue[1:]
		s.first++
		if event == nil {
			continue
		}
		name := event.FineTune.GetName()
		delete(s.pending, name)
		if event.Kind == Left {
			delete(s.told, name)
		} else if event.FineTune != nil {
			s.told[name] = true
		}
		return event, nil
	}
	return nil, s.failed
}

// view is what one stream knows, and who is told. What the gateway sends again after a restart is compared with what is known, so that
// no subscriber is told anything twice. Its owner locks.
type view struct {
	known map[string]*pb.FineTune
	// A snapshot that is being sent again, until it is complete; and whether its revisions can be compared with those of what is known.
	collected   map[string]*pb.FineTune
	sameHistory bool
	synced      bool
	subscribers map[*subscriber]bool
	failed      error
	token       string
}

func newView() *view {
	return &view{known: map[string]*pb.FineTune{}, subscribers: map[*subscriber]bool{}}
}

func byRevision(jobs map[string]*pb.FineTune) []*pb.FineTune {
	sorted := make([]*pb.FineTune, 0, len(jobs))
	for _, job := range jobs {
		sorted = append(sorted, job)
	}
	slices.SortFunc(sorted, func(a, b *pb.FineTune) int { return cmp.Compare(a.GetRevision(), b.GetRevision()) })
	return sorted
}

// add tells a new subscriber what is known, and from now on what changes.
func (v *view) add(s *subscriber) {
	if v.failed != nil {
		s.end(v.failed)
		return
	}
	v.subscribers[s] = true
	for _, job := range byRevision(v.known) {
		s.tell(Snapshot, job)
	}
	if v.synced {
		s.sync()
	}
}

// request is for the next stream.
func (v *view) request() *pb.WatchFineTunesRequest {
	if v.token == "" && (len(v.known) > 0 || v.synced) {
		// The gateway may be another one by now.
		v.collected, v.sameHistory = map[string]*pb.FineTune{}, false
	}
	return &pb.WatchFineTunesRequest{ResumeToken: v.token}
}

func (v *view) apply(response *pb.WatchFineTunesResponse) {
	switch event := response.GetEvent().(type) {
	case *pb.WatchFineTunesResponse_Change:
		v.applyChange(event.Change)
	case *pb.WatchFineTunesResponse_Restart:
		reason := event.Restart.GetReason()
		v.sameHistory = reason == pb.Restart_EXPIRED || reason == pb.Restart_TOO_SLOW
		v.collected, v.token = map[string]*pb.FineTune{}, ""
		return
	case *pb.WatchFineTunesResponse_Synced:
		v.applySynced()
	default:
		// After a resume the first heartbeat is as good as Synced.
		if response.GetResumeToken() != "" && v.collected == nil {
			v.applySynced()
		}
	}
	if response.GetResumeToken() != "" {
		v.token = response.GetResumeToken()
	}
}

func (v *view) applyChange(change *pb.Change) {
	job, left := change.GetFineTune(), change.GetType() == pb.Change_LEFT_FILTER
	name := job.GetName()
	switch {
	case v.collected != nil && left:
		delete(v.collected, name)
		return
	case v.collected != nil:
		v.collected[name] = job
		return
	case left:
		if v.known[name] != nil {
			delete(v.known, name)
			v.tell(Left, job)
		}
		return
	}
	known := v.known[name]
	if known != nil && job.GetRevision() != 0 && job.GetRevision() <= known.GetRevision() {
		return // A repetition.
	}
	v.known[name] = job
	kind := Updated
	if change.GetType() == pb.Change_SNAPSHOT {
		kind = Snapshot
	} else if known == nil && change.GetType() == pb.Change_CREATED {
		kind = Created
	}
	v.tell(kind, job)
}

func (v *view) applySynced() {
	if v.collected != nil {
		v.passOnDifferences()
	}
	v.synced = true
	for s := range v.subscribers {
		s.sync()
	}
}

func (v *view) passOnDifferences() {
	before := v.known
	v.known, v.collected = v.collected, nil
	for name, job := range before {
		if v.known[name] == nil {
			v.tell(Left, job)
		}
	}
	unseen, changed := Snapshot, Snapshot
	if v.synced {
		unseen, changed = Created, Updated
	}
	for _, job := range byRevision(v.known) {
		old := before[job.GetName()]
		switch {
		case old == nil:
			v.tell(unseen, job)
		case v.sameHistory && job.GetRevision() != 0:
			if job.GetRevision() != old.GetRevision() {
				v.tell(changed, job)
			}
		case !proto.Equal(job, old):
			v.tell(changed, job)
		}
	}
}

func (v *view) tell(kind EventKind, job *pb.FineTune) {
	for s := range v.subscribers {
		s.tell(kind, job)
	}
}

// failedWith says whether another stream is to be opened after one that ended so. If not, because trying again cannot cure it, all
// subscribers were told.
func (v *view) failedWith(err error, everHeard bool) bool {
	var failed *Error
	if !errors.As(err, &failed) {
		if errors.Is(err, ErrClosed) {
			v.end(err)
			return false
		}
		return true
	}
	if failed.Reason == pb.ErrorReason_RESUME_TOKEN_INVALID.String() && v.token != "" {
		v.token = "" // Of a gateway that lost its store: what is known is compared with a new snapshot.
		return true
	}
	switch failed.Code {
	case codes.Unauthenticated:
		// After it worked once: a token or a certificate that is being replaced.
		if everHeard {
			return true
		}
	case codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.Unimplemented, codes.OutOfRange, codes.FailedPrecondition:
	default:
		return true
	}
	v.end(err)
	return false
}

func (v *view) end(err error) {
	v.failed = err
	for s := range v.subscribers {
		s.end(err)
	}
	clear(v.subscribers)
}
