package finetune

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"

	pb "github.com/segmind/finetune-gateway/client/go/finetunev1"
	"google.golang.org/grpc/codes"
)

func change(kind pb.Change_Type, name string, revision uint64, state pb.FineTune_State) *pb.WatchFineTunesResponse {
	response := &pb.WatchFineTunesResponse{Revision: revision, Event: &pb.WatchFineTunesResponse_Change{Change: &pb.Change{
		Type: kind, FineTune: &pb.FineTune{Name: name, Revision: revision, State: state}}}}
	if kind != pb.Change_SNAPSHOT {
		response.ResumeToken = fmt.Sprint("t", revision)
	}
	return response
}

func synced(revision uint64) *pb.WatchFineTunesResponse {
	return &pb.WatchFineTunesResponse{ResumeToken: fmt.Sprint("t", revision), Event: &pb.WatchFineTunesResponse_Synced{Synced: &pb.Synced{}}}
}

func restarted(reason pb.Restart_Reason) *pb.WatchFineTunesResponse {
	return &pb.WatchFineTunesResponse{Event: &pb.WatchFineTunesResponse_Restart{Restart: &pb.Restart{Reason: reason}}}
}

func feed(v *view, responses ...*pb.WatchFineTunesResponse) {
	for _, response := range responses {
		v.apply(response)
	}
}

func begin(v *view) {
	feed(v, change(pb.Change_SNAPSHOT, "a", 1, pb.FineTune_QUEUED), change(pb.Change_SNAPSHOT, "b", 2, pb.FineTune_QUEUED), synced(2))
}

func subscribed(v *view, where func(*pb.FineTune) bool, names ...string) *subscriber {
	s := newSubscriber(names, where)
	v.add(s)
	return s
}

func expect(t *testing.T, s *subscriber, expected ...string) {
	t.Helper()
	told := []string{}
	for event, _ := s.next(); event != nil; event, _ = s.next() {
		told = append(told, fmt.Sprint(event.Kind, " ", event.FineTune.GetName(), event.FineTune.GetRevision()))
	}
	if len(told)+len(expected) > 0 && !reflect.DeepEqual(told, expected) {
		t.Errorf("told %q, expected %q", told, expected)
	}
}

func TestSnapshotThenSyncedThenChanges(t *testing.T) {
	v := newView()
	s := subscribed(v, nil)
	begin(v)
	expect(t, s, "snapshot a1", "snapshot b2", "synced 0")
	feed(v, change(pb.Change_UPDATED, "a", 3, pb.FineTune_TRAINING), change(pb.Change_UPDATED, "a", 3, pb.FineTune_TRAINING),
		change(pb.Change_CREATED, "c", 4, pb.FineTune_QUEUED))
	expect(t, s, "updated a3", "created c4")
	expect(t, subscribed(v, nil, "b"), "snapshot b2", "synced 0")
	if token := v.request().GetResumeToken(); token != "t4" {
		t.Error(token)
	}
}

func TestASlowSubscriberHasOneEventAJobWaiting(t *testing.T) {
	v := newView()
	s := subscribed(v, nil)
	begin(v)
	expect(t, s, "snapshot a1", "snapshot b2", "synced 0")
	for revision := uint64(3); revision < 10000; revision++ {
		feed(v, change(pb.Change_UPDATED, string("ab"[revision%2]), revision, pb.FineTune_TRAINING))
	}
	if len(s.queue) > 100 {
		t.Error(len(s.queue))
	}
	expect(t, s, "updated a9998", "updated b9999")
}

func TestARestartTellsTheDifferencesAlone(t *testing.T) {
	v := newView()
	s := subscribed(v, nil)
	begin(v)
	expect(t, s, "snapshot a1", "snapshot b2", "synced 0")
	for _, reason := range []pb.Restart_Reason{pb.Restart_EXPIRED, pb.Restart_OTHER_HISTORY} {
		feed(v, restarted(reason))
		if token := v.request().GetResumeToken(); token != "" {
			t.Error(token)
		}
		begin(v)
		expect(t, s)
	}
	feed(v, restarted(pb.Restart_TOO_SLOW), change(pb.Change_SNAPSHOT, "b", 7, pb.FineTune_QUEUED), change(pb.Change_SNAPSHOT, "c", 8, pb.FineTune_QUEUED), synced(8))
	expect(t, s, "left a1", "updated b7", "created c8")
}

func TestWhatTryingAgainCannotCureEndsTheWatch(t *testing.T) {
	v := newView()
	s := subscribed(v, nil)
	for _, curable := range []error{newError(codes.Unavailable, "away"), newError(codes.Unauthenticated, "token")} {
		if !v.failedWith(curable, true) {
			t.Error(curable)
		}
	}
	if v.failedWith(newError(codes.Unauthenticated, "token"), false) {
		t.Error("an unknown token is no passing trouble")
	}
	if _, err := s.next(); err == nil {
		t.Error("not told")
	}
}

func TestRandomHistoriesLeaveEverySubscriberWithTheTruth(t *testing.T) {
	training := func(job *pb.FineTune) bool { return job.GetState() == pb.FineTune_TRAINING }
	for seed := uint64(0); seed < 300; seed++ {
		chance := rand.New(rand.NewPCG(seed, 1))
		v, revision := newView(), uint64(0)
		truth := map[string]*pb.FineTune{}
		all, some := subscribed(v, nil), subscribed(v, training)
		known := map[*subscriber]map[string]uint64{all: {}, some: {}}
		read := func() {
			for s, seen := range known {
				for event, _ := s.next(); event != nil; event, _ = s.next() {
					name := event.FineTune.GetName()
					switch {
					case event.Kind == Left:
						if seen[name] == 0 {
							t.Fatalf("seed %d: %s left and was never told", seed, name)
						}
						delete(seen, name)
					case event.Kind != Synced:
						if event.FineTune.GetRevision() <= seen[name] {
							t.Fatalf("seed %d: %s went back", seed, name)
						}
						seen[name] = event.FineTune.GetRevision()
					}
				}
			}
		}
		feed(v, synced(0))
		for range 60 {
			switch dice := chance.Float64(); {
			case dice < 0.8:
				revision++
				name := string("abcdef"[chance.IntN(6)])
				kind := pb.Change_CREATED
				if truth[name] != nil {
					kind = pb.Change_UPDATED
				}
				state := []pb.FineTune_State{pb.FineTune_QUEUED, pb.FineTune_TRAINING}[chance.IntN(2)]
				response := change(kind, name, revision, state)
				truth[name] = response.GetChange().GetFineTune()
				feed(v, response)
			case dice < 0.9:
				feed(v, restarted(pb.Restart_EXPIRED))
				for _, job := range truth {
					feed(v, change(pb.Change_SNAPSHOT, job.GetName(), job.GetRevision(), job.GetState()))
				}
				feed(v, synced(revision))
			}
			if chance.Float64() < 0.3 {
				read()
			}
		}
		read()
		for s, seen := range known {
			expected := map[string]uint64{}
			for name, job := range truth {
				if s == all || training(job) {
					expected[name] = job.GetRevision()
				}
			}
			if !maps.Equal(seen, expected) {
				t.Fatalf("seed %d: knows %v, the truth is %v", seed, seen, expected)
			}
		}
	}
}
