"""Trees of processes that do all they can to outlive their command."""

import sys
import textwrap

TOOLS = textwrap.dedent(
    """
    import ctypes, os, signal, sys, time

    FIFO, MARK = sys.argv[1], sys.argv[2]
    libc = ctypes.CDLL(None, use_errno=True)
    held = os.open(FIFO, os.O_WRONLY)
    os.set_inheritable(held, True)
    HOUR = 3600

    def away(then, depth=1):
        # A process that is nobody's child, in a session of its own.
        if os.fork():
            return
        os.setsid()
        if depth:
            away(then, depth - 1)
            os._exit(0)
        then()
        os._exit(0)

    def ready(*_):
        os.write(1, b"ready\\n")

    def wait():
        ready()
        time.sleep(HOUR)

    def again(environment, code="import time; time.sleep(3600)"):
        os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code, FIFO, MARK], environment)

    os.write(1, b"so far\\n")
    """
)

DEAF = """
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
"""

SHAPES: dict[str, str] = {
    "leaves the session": "away(wait, 0)\ntime.sleep(HOUR)",
    "forks twice": "away(wait, 3)\ntime.sleep(HOUR)",
    "ignores every signal": DEAF + "away(wait)\ntime.sleep(HOUR)",
    "blocks every signal": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\naway(wait)\ntime.sleep(HOUR)",
    "goes on forking": """
        def chain():
            ready()
            while True:
                if os.fork():
                    os._exit(0)
        away(chain)
        time.sleep(HOUR)
    """,
    "goes on forking in sessions of its own": """
        def chain():
            ready()
            while True:
                if os.fork():
                    os._exit(0)
                os.setsid()
        away(chain)
        time.sleep(HOUR)
    """,
    "goes on forking without an environment": """
        def chain():
            code = "import os\\nos.write(1, b'ready\\\\n')\\nwhile True:\\n os.fork() and os._exit(0)\\n os.setsid()"
            again({}, code)
        away(chain)
        time.sleep(HOUR)
    """,
    "forks as fast as it can": """
        import gc
        def chain():
            ready()
            gc.disable()
            fork, leave, session = libc.fork, libc._exit, libc.setsid
            while True:
                if fork():
                    leave(0)
                session()
        away(chain)
        time.sleep(HOUR)
    """,
    "becomes many": """
        def spread(depth):
            for _ in range(3):
                if not os.fork():
                    os.setsid()
                    if depth:
                        spread(depth - 1)
                    time.sleep(HOUR)
        spread(2)
        ready()
        time.sleep(HOUR)
    """,
    "has one more child for each that dies": """
        def parent():
            ready()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            while True:
                for _ in range(3):
                    if not os.fork():
                        os.setsid()
                        time.sleep(HOUR)
                os.wait()
        away(parent)
        time.sleep(HOUR)
    """,
    "ends and leaves a child at the pipe": """
        reading, writing = os.pipe()
        away(lambda: (ready(), os.write(writing, b"x"), time.sleep(HOUR)))
        os.read(reading, 1)
        os._exit(0)
    """,
    "closes everything": """
        def hide():
            ready()
            os.closerange(0, 64)
            os.chdir("/")
            time.sleep(HOUR)
        away(hide)
        time.sleep(HOUR)
    """,
    "stops": "away(lambda: (ready(), os.kill(os.getpid(), signal.SIGSTOP)))\ntime.sleep(HOUR)",
    "stops altogether": "away(lambda: os.kill(os.getpid(), signal.SIGSTOP))\nready()\nos.killpg(0, signal.SIGSTOP)",
    "changes its group": """
        for _ in range(3):
            if not os.fork():
                os.setpgid(0, 0)
                wait()
        time.sleep(HOUR)
    """,
    "wipes its environment": """
        def wipe():
            again({}, "import os, time; os.write(1, b'ready\\\\n'); time.sleep(3600)")
        away(wipe)
        time.sleep(HOUR)
    """,
    "forges a mark in its environment": """
        def forge():
            code = "import os, time; os.write(1, b'ready\\\\n'); time.sleep(3600)"
            again({"TURNLOOM_EXECUTION_ID": "0123456789abcdef-1"}, code)
        away(forge)
        time.sleep(HOUR)
    """,
    "adopts its orphans": """
        def adopt():
            libc.prctl(36, 1, 0, 0, 0)
            away(wait)
            while True:
                try:
                    os.wait()
                except ChildProcessError:
                    time.sleep(HOUR)
        away(adopt)
        time.sleep(HOUR)
    """,
    "forks from threads": """
        import threading
        def work():
            away(wait)
            time.sleep(HOUR)
        for _ in range(3):
            threading.Thread(target=work).start()
        time.sleep(HOUR)
    """,
    "leaves by a thread and ends its first": """
        import threading
        def work():
            away(wait, 0)
            time.sleep(HOUR)
        threading.Thread(target=work).start()
        time.sleep(0.01)
        libc.pthread_exit(None)
    """,
    "has a terminal of its own": """
        import pty
        try:
            pid, master = pty.fork()
        except OSError:  # a sandbox without terminals
            pid = os.fork()
            pid or os.setsid()
        if pid == 0:
            away(lambda: time.sleep(HOUR))
            again({})
        ready()
        time.sleep(HOUR)
    """,
    "lives in namespaces of its own": """
        def apart():
            libc.unshare(0x10000000)
            libc.unshare(0x20020000)
            if os.fork() == 0:
                os.setsid()
                wait()
            time.sleep(HOUR)
        away(apart)
        time.sleep(HOUR)
    """,
    "dies with a signal handler that forks": """
        def fork_again(*_):
            if not os.fork():
                os.setsid()
                time.sleep(HOUR)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCHLD, signal.SIGCONT, signal.SIGPIPE):
            signal.signal(number, fork_again)
        away(lambda: (ready(), [time.sleep(HOUR) for _ in range(99)]))
        [time.sleep(HOUR) for _ in range(99)]
    """,
    "writes without end": """
        def flood():
            ready()
            while True:
                os.write(1, b"x" * 4096)
        away(flood)
        time.sleep(HOUR)
    """,
    "traces its child": """
        child = os.fork()
        if not child:
            os.setsid()
            libc.ptrace(0, 0, None, None)
            wait()
        time.sleep(HOUR)
    """,
}


def tree(shape: str, mark: str, fifo: str) -> list[str]:
    """The command that grows the tree. It says "so far", and "ready" once it is set."""
    return [sys.executable, "-I", "-S", "-c", TOOLS + textwrap.dedent(SHAPES[shape]), fifo, mark]
