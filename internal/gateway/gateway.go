// Package gateway is a machine's way to the members of its cluster: it listens
// on a loopback port that never changes and passes each connection on to a
// member of a list that does. It moves bytes and looks at none of them, so TLS
// stays end to end.
//
// It promises that a connection is refused only when no member can be reached,
// that no connection is touched whose member stays, and that one whose member
// is to go is ended at a moment when nobody speaks, or after 4 s.
package gateway

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"cke/internal/cluster"
)

// ProtocolVersion grows when a gateway that runs must be replaced by the one
// that is installed. Replacing it ends every connection, so a new build alone
// is no reason.
const ProtocolVersion = 2

// Options are what a gateway is started with.
type Options struct {
	// List is the file it goes by: cluster.Gateway in JSON, replaced by rename.
	List string
	// State is the unix socket that says how it stands.
	State string
	// Listen is a loopback address; by default 127.0.0.1, and ::1 where there is
	// IPv6.
	Listen netip.Addr
	// Reload makes it look at the list at once, not only within 100 ms.
	Reload <-chan os.Signal
	Log    *slog.Logger
}

// gateway is a running one.
type gateway struct {
	opts    Options
	pace    pace
	log     *slog.Logger
	started time.Time
	limit   int // connections at once
	buffers sync.Pool
	// serving ends when no connection is made any more, work when all have ended.
	serving, work context.Context
	endServing    context.CancelFunc
	finish        context.CancelFunc
	connections   sync.WaitGroup
	// look is asked for when a connection may have to be ended now.
	look   chan struct{}
	others sync.WaitGroup // the sweeper and those that try upstreams

	mu        sync.Mutex
	list      cluster.Gateway
	listening uint16 // the port
	troubles  troubles
	upstreams []*upstream // as list has them
	pairs     map[*pair]struct{}
	open      int // connections, also those that have no upstream yet
	stopping  bool
	accepted  uint64
	refused   uint64
	failed    uint64
	moaned    time.Time // when it was last logged that there are too many
}

// pace is how long everything may take; tests are less patient.
type pace struct {
	poll     time.Duration // between two looks at the list
	retry    time.Duration // before a port that is in use is tried again
	dial     time.Duration
	probeMin time.Duration
	probeMax time.Duration
	muteMin  time.Duration
	muteMax  time.Duration
	// silence is how long a member may leave the first word unanswered.
	silence time.Duration
	// halfOpen is how long a connection that one side has ended may be idle.
	halfOpen time.Duration
	drain    time.Duration // before what is to end is ended in the midst of speech
	// How long nobody must have spoken in a quiet moment: a member that has more to
	// say says it sooner.
	afterAnswer time.Duration
	// How long the client must not have: an answer may be on its way, to this word or
	// to one before; a write waits for disks. But HTTP/2 also has words that want no
	// answer.
	afterQuestion time.Duration

	sweep    time.Duration // between two looks whether somebody speaks
	farewell time.Duration // for both sides to hang up after us
}

func defaultPace() pace {
	return pace{
		poll:  100 * time.Millisecond,
		retry: time.Second,
		// Linux repeats a lost SYN after a second. By then another member is the
		// better bet.
		dial:          time.Second,
		probeMin:      250 * time.Millisecond,
		probeMax:      5 * time.Second,
		muteMin:       5 * time.Second,
		muteMax:       time.Minute,
		silence:       5 * time.Second,
		halfOpen:      30 * time.Second,
		drain:         4 * time.Second,
		sweep:         5 * time.Millisecond,
		afterAnswer:   30 * time.Millisecond,
		afterQuestion: 500 * time.Millisecond,
		farewell:      500 * time.Millisecond,
	}
}

// Run serves until ctx ends; then it takes no connection any more, ends those
// there are as it ends a leaving member's, and returns nil.
func Run(ctx context.Context, o Options) error {
	limit, err := connectionLimit()
	if err != nil {
		return err
	}
	return newGateway(ctx, o, limit, defaultPace()).run(ctx)
}

func newGateway(ctx context.Context, o Options, limit int, p pace) *gateway {
	g := &gateway{
		opts: o, pace: p, log: o.Log, started: time.Now(), limit: limit,
		look: make(chan struct{}, 1), pairs: map[*pair]struct{}{},
	}
	// ctx only asks for the end, which takes its time.
	g.work, g.finish = context.WithCancel(context.WithoutCancel(ctx))
	g.serving, g.endServing = context.WithCancel(g.work)
	g.buffers.New = func() any { return new([bufferSize]byte) }
	return g
}

func (g *gateway) run(ctx context.Context) error {
	defer g.others.Wait()
	defer g.finish()
	f := &listFile{path: g.opts.List}
	list, err := f.read()
	if err != nil {
		return err // there is nothing to go by, and no port
	}
	e, err := g.listen(list.Port)
	if err != nil {
		return err
	}
	defer func() { e.close() }() // whichever it is by then
	s, err := serveState(g.opts.State, g)
	if err != nil {
		return err
	}
	defer s.close()
	g.apply(list)
	g.others.Go(g.sweep)
	if err := notify("READY=1"); err != nil {
		return err
	}
	g.log.Info("the gateway serves", "cluster", list.Cluster, "addresses", e.addresses(), "upstreams", g.summary(), "connections_at_most", g.limit)
	e = g.follow(ctx, f, e)

	e.close()
	err = notify("STOPPING=1")
	g.stop()
	return err
}

// follow goes by the list until ctx ends and returns what listens by then.
func (g *gateway) follow(ctx context.Context, f *listFile, e *ear) *ear {
	tick := time.NewTicker(g.pace.poll)
	defer tick.Stop()
	var lastTry, lastSilence time.Time
	for {
		reload := false
		select {
		case <-ctx.Done():
			return e
		case <-g.opts.Reload:
			reload = true
		case <-tick.C:
		}
		if now := time.Now(); now.Sub(lastSilence) >= g.pace.silence/5 {
			lastSilence = now
			g.endUnanswered()
		}
		list, changed, err := f.changed(reload)
		switch {
		case err != nil:
			g.say(listTrouble, err.Error())
		case changed:
			g.say(listTrouble, "")
			g.apply(list)
			lastTry = time.Time{}
		}
		if want := g.port(); want != e.port && time.Since(lastTry) >= g.pace.retry {
			lastTry = time.Now()
			e = g.move(e, want)
		}
	}
}

// move listens on another port; connections that came over the old one stay.
func (g *gateway) move(e *ear, port uint16) *ear {
	fresh, err := g.listen(port)
	if err != nil {
		g.say(portTrouble, err.Error())
		return e
	}
	e.close()
	g.say(portTrouble, "")
	g.log.Info("the gateway listens on another port", "addresses", fresh.addresses())
	return fresh
}

// stop ends every connection and waits until it is so.
func (g *gateway) stop() {
	g.mu.Lock()
	g.stopping = true
	n := len(g.pairs)
	g.mu.Unlock()
	g.log.Info("the gateway stops", "connections", n)
	g.endServing()
	g.wake()
	g.connections.Wait()
}

// wake has the sweeper look now.
func (g *gateway) wake() {
	select {
	case g.look <- struct{}{}:
	default: // it will look anyway
	}
}

// admit takes a connection or refuses it.
func (g *gateway) admit(client *net.TCPConn) {
	g.mu.Lock()
	full := g.open >= g.limit
	if full || g.stopping {
		g.refused++
		moan := full && time.Since(g.moaned) >= time.Minute
		if moan {
			g.moaned = time.Now()
		}
		g.mu.Unlock()
		reset(client)
		if moan {
			g.log.Warn("connections are refused: there are as many as the limit of open files allows", "connections", g.limit,
				"hint", "LimitNOFILE of the unit is two for each connection")
		}
		return
	}
	g.accepted++
	g.open++
	g.mu.Unlock()
	g.connections.Go(func() { g.serve(client) })
}

// serve is a connection's whole life.
func (g *gateway) serve(client *net.TCPConn) {
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.open--
	}()
	up, conn := g.connect()
	if up == nil {
		g.mu.Lock()
		g.failed++
		g.mu.Unlock()
		reset(client)
		return
	}
	p := newPair(g, client, conn, up)
	g.mu.Lock()
	g.pairs[p] = struct{}{}
	g.mu.Unlock()
	g.wake() // its member may be leaving since
	p.run()
	g.mu.Lock()
	delete(g.pairs, p)
	up.open--
	g.mu.Unlock()
}
