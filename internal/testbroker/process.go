package testbroker

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// A process is a child that a goroutine of its own starts and waits for.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed once the child was waited for
	once   sync.Once
}

// startProcess starts cmd such that it dies with this program where the system can do that (see dieWithParent).
//
// The signal that Linux sends to an orphan is sent when the thread that started the child ends, not when its process
// does. Suppose an ordinary goroutine starts the child and returns: the runtime may end its thread whenever it likes,
// and the server would be killed in the middle of a test. So one goroutine, locked to its thread, starts the child and
// stays until the child has ended.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		dieWithParent(cmd)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is of no interest: it is always killed
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// pid is the child's process id.
func (p *process) pid() int { return p.cmd.Process.Pid }

// signal sends sig to the child, unless it has ended: os.Process knows, so that a reused process id is never hit.
// It returns from freezing once the child stands still: on a busy machine the signal's delivery takes a while, in which the child
// goes on to work.
func (p *process) signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil || sig != sigFreeze {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(freezeTimeout); !stopped(p.pid()); <-tick.C {
		if time.Now().After(deadline) {
			return errors.New("testbroker: the server does not stand still after SIGSTOP")
		}
	}
	return nil
}

// freezeTimeout is how long a child may take to stand still.
const freezeTimeout = 30 * time.Second

// kill ends the child, even a frozen one, and waits until it is gone.
func (p *process) kill() {
	p.once.Do(func() { _ = p.cmd.Process.Kill() })
	<-p.exited
}
