"""The wall: a submission gets Python and the library, and nothing else; its trouble ends it and nobody else."""

import errno
import os
import platform
import socket
import threading

import pytest
import torch

import sparring.models
from sparring_grader import seccomp, wall
from sparring_grader.checks import CheckFailed, Oracle
from sparring_grader.errors import WallError
from sparring_grader.sandbox import Session, SessionEnded
from sparring_grader.wall import Limits, find_bubblewrap

try:
    find_bubblewrap()
except WallError as error:
    pytest.skip(f"no wall can be built here: {error}", allow_module_level=True)

LIMITS = Limits(
    cell_seconds=5, call_seconds=4, total_seconds=120, grace_seconds=2, memory=1 << 30, processes=64
)


@pytest.fixture(scope="module")
def session():
    with Session(LIMITS) as running:
        yield running


def shown(session, source):
    outputs, _ = session.run(source)
    return "".join(
        output.get("text") or output.get("evalue") or output.get("data", {}).get("text/plain", "")
        for output in outputs.cells
    )


def test_a_cell_shows_prints_results_and_errors_as_a_notebook_does(session):
    outputs, raised = session.run("print('a')\n1 + 1")
    assert [output.output_type for output in outputs.cells] == ["stream", "execute_result"]
    assert not raised
    outputs, raised = session.run("1/0")
    assert raised
    assert outputs.cells[0].ename == "ZeroDivisionError"


def test_magics_await_and_display_updates_work(session):
    assert "ns" in shown(session, "%timeit -n1 -r1 1")
    assert shown(session, "import asyncio\nawait asyncio.sleep(0)\n7") == "7"
    source = "from IPython.display import display\nh = display('old', display_id=True)\nh.update('new')"
    assert shown(session, source) == "'new'"


def test_a_pyplot_figure_is_drawn_inline(session):
    outputs, _ = session.run("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    assert any("image/png" in output.get("data", {}) for output in outputs.cells)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/shadow",
        "/root/.ssh",
        "/var",
        "/home/user",
        "/sys",
        __file__,
        "/proc/1/environ/../../../etc/hostname",
    ],
)
def test_files_of_the_host_are_not_there(session, path):
    assert shown(session, f"import os; os.path.exists({path!r})") == "False"


@pytest.mark.parametrize(
    "path", ["/usr/x", "/x", "/etc/passwd", "/dev/x", "/proc/sys/kernel/core_pattern", "/opt/x"]
)
def test_nothing_but_home_and_tmp_can_be_written(session, path):
    assert "Error" in shown(
        session, f"try:\n    open({path!r}, 'w')\nexcept OSError as e:\n    print('Error', e)"
    )


def test_home_and_tmp_hold_no_more_than_allowed(session):
    source = (
        "n = 0\ntry:\n    for n in range(400):\n        open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))\n"
        "except OSError as e:\n    print('full', n, e.errno)\nimport glob, os\n[os.remove(p) for p in glob.glob('/tmp/*')];"
    )
    said = shown(session, source)
    assert said.startswith("full 25")


def test_the_environment_of_the_grader_does_not_reach_the_notebook(monkeypatch):
    monkeypatch.setenv("SPARRING_TEST_SECRET", "hush")
    with Session(LIMITS) as fresh:
        assert "hush" not in shown(
            fresh, "import os; print(dict(os.environ)); print(open('/proc/self/environ').read())"
        )


def test_a_server_on_the_hosts_loopback_can_not_be_reached(session):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = (
            f"import socket\ntry:\n    socket.create_connection(('127.0.0.1', {port}), 1)\n    print('in')"
        )
        assert "in" not in shown(session, source + "\nexcept OSError:\n    print('no')").split()


def test_an_abstract_socket_of_the_host_can_not_be_reached(session):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0sparring-test-abstract")
        server.listen()
        source = "s = socket.socket(socket.AF_UNIX)\ntry:\n    s.connect('\\0sparring-test-abstract')\n    print('in')"
        assert (
            "in"
            not in shown(session, "import socket\n" + source + "\nexcept OSError:\n    print('no')").split()
        )


def test_processes_of_the_host_can_be_neither_seen_nor_signalled(session):
    said = shown(session, "import os; print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()))")
    assert max(int(number) for number in said.strip("[]\n").split(",")) < 1000
    source = f"import os\ntry:\n    os.kill({os.getpid()}, 0)\n    print('there')\nexcept OSError:\n    print('no')"
    assert os.getpid() < 1000 or shown(session, source) == "no\n"


def test_no_new_user_namespace_can_be_made(session):
    source = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.unshare(0x10000000)"
    assert shown(session, source) == "-1"


def test_an_endless_loop_is_stopped_and_the_notebook_goes_on(session):
    with Session(Limits(cell_seconds=1)) as short:
        outputs, raised = short.run(
            "while True:\n    try:\n        while True:\n            pass\n    except Exception:\n        pass"
        )
        assert raised
        assert "1 s, which is the limit" in outputs.cells[-1].evalue
        assert shown(short, "40 + 2") == "42"


def test_a_loop_that_ignores_its_alarm_ends_the_session_with_a_reason():
    with Session(Limits(cell_seconds=1, grace_seconds=1)) as stubborn:
        with pytest.raises(SessionEnded, match="past its time"):
            stubborn.run(
                "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True:\n    pass"
            )
        with pytest.raises(SessionEnded, match="past its time"):
            stubborn.run("1")


def test_memory_past_the_limit_is_an_error_of_the_cell_that_asked_for_it(session):
    outputs, raised = session.run("hog = []\nwhile True:\n    hog.append(bytearray(64 << 20))")
    assert raised
    assert outputs.cells[-1].ename == "MemoryError"
    session.run("del hog")
    assert shown(session, "1") == "1"


def test_a_fork_bomb_meets_its_limit():
    source = "import os, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0:\n            time.sleep(60)\n        n += 1\n"
    with Session(LIMITS) as bomb:
        try:
            said = shown(bomb, source + "except OSError:\n    print('stopped', n)")
            assert said.startswith("stopped")
        except SessionEnded as error:
            assert "processes" in str(error)  # noqa: PT017 - either limit may be the first to be met


def test_output_past_the_limit_is_cut_and_says_so(session):
    outputs, _ = session.run("for _ in range(60):\n    print('x' * 100_000)")
    assert sum(len(output.text) for output in outputs.cells) < 3 << 20
    assert "left out" in outputs.cells[-1].text


def test_a_kernel_that_dies_ends_its_session_with_a_reason():
    with Session(LIMITS) as dying, pytest.raises(SessionEnded, match="code 3"):
        dying.run("import os\nos._exit(3)")


@pytest.mark.parametrize(
    "forged",
    [
        "b'noise' * 100",
        "wire.pack({'op': 'result', 'value': 1})",
        "wire.PREFIX.pack(wire.MAGIC, 2**31, 2**40)",
        "wire.pack({'op': 'oracle', 'oracle': 0, 'args': [], 'kwargs': {'$': 'dict', 'v': {}}})",
        "wire.pack({'op': 'answer'})",
    ],
)
def test_frames_sent_out_of_turn_end_the_session(forged):
    source = (
        "import gc\nfrom sparring_grader import wire\nfrom sparring_grader.inside.channel import Channel\n"
        f"[c for c in gc.get_objects() if isinstance(c, Channel)][0]._socket.sendall({forged})"
    )
    with Session(LIMITS) as liar, pytest.raises((SessionEnded, CheckFailed)):
        liar.run(source)
        for _ in range(3):
            liar.call("f", [], {})


def test_a_function_is_called_with_tensors_and_returns_them(session):
    session.run("def double(x):\n    return 2 * x")
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(session.call("double", [x], {}).value, 2 * x)


def test_arguments_come_back_as_they_are_after_the_call(session):
    session.run(
        "def spoil(model, x):\n    x += 1\n    model(x).sum().backward()\n    model.train()\n    return None"
    )
    model = sparring.models.Linear(3, 2).eval()
    x = torch.zeros(4, 3)
    seen = session.call("spoil", [model, x], {}, observe=True)
    assert torch.equal(seen.args[1], torch.ones(4, 3))
    assert all(gradient is not None for gradient in seen.args[0].grads.values())
    assert all(seen.args[0].training.values())
    assert torch.equal(x, torch.zeros(4, 3))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_oracle_counts_every_call_and_stops_at_its_budget(session):
    asked = []
    session.run("def ask(f, n):\n    return [f(i) for i in range(n)]")
    oracle = Oracle(lambda i: asked.append(i) or i * i, max_calls=3)
    assert session.call("ask", [oracle, 3], {}).value == [0, 1, 4]
    with pytest.raises(CheckFailed, match="3 times"):
        session.call("ask", [oracle, 4], {})
    assert asked == [0, 1, 2, 0, 1, 2]


def test_a_gradient_crosses_only_from_an_oracle_that_allows_it(session):
    session.run(
        "def slope(f, x):\n    x = x.clone().requires_grad_(True)\n    y = f(x)\n    y.sum().backward()\n    return x.grad"
    )
    x = torch.randn(5)
    open_box = Oracle(lambda t: t**3, gradient=True)
    assert torch.allclose(session.call("slope", [open_box, x], {}).value, 3 * x**2)
    with pytest.raises(CheckFailed, match="does not require grad"):
        session.call("slope", [Oracle(lambda t: t**3), x], {})


@pytest.mark.parametrize(
    "question", ["'text'", "None", "{}", "[[1.0]]", "torch.zeros(3, dtype=torch.int64)", "torch.zeros(0)"]
)
def test_a_question_that_makes_no_sense_is_refused_and_the_next_call_gets_its_own_answer(session, question):
    """An oracle that can't answer says so to the learner's code; nothing is left over for a later call to read."""
    session.run(f"import torch\ndef odd(f):\n    return f({question})\ndef fine():\n    return 'mine'")
    square = Oracle(lambda x: x.detach() @ torch.ones(4, 2), gradient=True)
    with pytest.raises(CheckFailed, match="odd raised"):
        session.call("odd", [square], {})
    assert session.call("fine", [], {}).value == "mine"


def test_a_question_of_too_many_bytes_is_refused(session):
    session.run("import torch\ndef ask(f):\n    return f(torch.zeros(20 << 18))")
    with pytest.raises(CheckFailed, match="limit is 16 MiB"):
        session.call("ask", [Oracle(lambda x: x)], {})


def test_gradients_are_kept_for_the_last_answers_only(session):
    session.run(
        "import torch\ndef late(f, n):\n    x = torch.ones(2, requires_grad=True)\n    first = f(x)\n"
        "    for _ in range(n):\n        f(x)\n    first.sum().backward()\n    return x.grad"
    )
    oracle = Oracle(lambda x: 3 * x, gradient=True)
    assert torch.equal(session.call("late", [oracle, 3], {}).value, torch.full((2,), 3.0))
    with pytest.raises(CheckFailed, match="keeps its last 16 answers"):
        session.call("late", [oracle, 16], {})


def test_an_object_that_can_not_cross_stays_behind_and_is_called_there(session):
    session.run(
        "class Box:\n    def __init__(self, v):\n        self.v = v\n    def get(self):\n        return self.v"
    )
    handle = session.call("Box", [4], {}).value
    assert handle.type == "Box"
    assert session.call(handle, [], {}, method="get").value == 4


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('no luck')", "raised ValueError: no luck"),
        ("raise NotImplementedError()", "not written yet"),
        ("return 2 ** 100", "101 bits"),
        ("return {1: 2}", "key of type int"),
        ("while True: pass", "did not return within 4 s"),
        ("import sys; sys.exit(1)", "raised SystemExit"),
    ],
)
def test_what_a_function_does_instead_of_answering_is_said_to_the_learner(session, body, message):
    session.run(f"def f():\n    {body}")
    with pytest.raises(CheckFailed, match=message):
        session.call("f", [], {})


def test_a_missing_function_is_named(session):
    with pytest.raises(CheckFailed, match="There is no nowhere in the notebook"):
        session.call("nowhere", [], {})


def test_two_sessions_share_nothing():
    with Session(LIMITS) as one, Session(LIMITS) as two:
        one.run("open('/tmp/note', 'w').write('the answer'); open('note', 'w').write('x')")
        assert shown(two, "import os; os.path.exists('/tmp/note') or os.path.exists('note')") == "False"


def test_nothing_is_left_of_a_session_when_it_is_over():
    before = threading.active_count()
    with Session(LIMITS) as running:
        running.run("import subprocess\nsubprocess.Popen(['sleep', '600'])")
        process = running._process
    assert process.poll() is not None
    assert threading.active_count() == before


def test_without_a_wall_the_same_answers_come_and_the_session_says_so():
    with Session(LIMITS, unsandboxed=True) as trusted:
        assert trusted.wall == "none"
        trusted.run("def f(x):\n    return x + 1")
        assert trusted.call("f", [1], {}).value == 2


CALL = (
    "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nr = libc.syscall({}); (r, ctypes.get_errno())"
)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("keyctl", "0, -4"),
        ("add_key", "b'user', b'x', b'y', 1, -4"),
        ("io_uring_setup", "1, 0"),
        ("bpf", "0, 0, 0"),
        ("userfaultfd", "0"),
        ("perf_event_open", "0, 0, 0, 0, 0"),
        ("ptrace", "0, 0, 0, 0"),
        ("unshare", "0x20000"),
        ("setns", "0, 0"),
        ("mount", "0, 0, 0, 0, 0"),
        ("open_by_handle_at", "0, 0, 0"),
    ],
)
def test_calls_that_no_notebook_needs_are_refused(session, call, arguments):
    column, _ = seccomp.ARCHITECTURES[platform.machine()]
    number = seccomp.REFUSED[call][column]
    assert shown(session, CALL.format(f"{number}, {arguments}")) == f"(-1, {errno.EPERM})"


def test_clone_makes_no_namespace_and_clone3_is_not_there(session):
    column, _ = seccomp.ARCHITECTURES[platform.machine()]
    new_user = f"{seccomp.CLONE[column]}, 0x10000000 | 17, 0, 0, 0, 0"
    assert shown(session, CALL.format(new_user)) == f"(-1, {errno.EPERM})"
    assert shown(session, CALL.format(f"{seccomp.CLONE3[column]}, 0, 0")) == f"(-1, {errno.ENOSYS})"


def test_a_socket_to_the_machine_beneath_can_not_be_made(session):
    source = "import socket\ntry:\n    socket.socket(40, socket.SOCK_STREAM)\nexcept OSError as e:\n    print(e.errno)"
    assert shown(session, source) == f"{errno.EAFNOSUPPORT}\n"
    ours = "socket.socketpair()[0].close(); socket.socket().close(); socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(); 'fine'"
    assert shown(session, ours) == "'fine'"


def test_threads_and_child_processes_work_behind_the_filter(session):
    source = (
        "import subprocess, threading\nt = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
        "print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout)"
    )
    assert shown(session, source).split() == ["thread", "child"]


def test_python_may_be_installed_below_tmp(tmp_path, monkeypatch):
    """A virtual environment in /tmp, where the wall puts an empty folder, is still there behind it."""
    installed = wall._python()
    monkeypatch.setattr(wall, "_python", lambda: [tmp_path, *installed])
    (tmp_path / "here").write_text("yes")
    with Session(LIMITS) as running:
        assert shown(running, f"open({str(tmp_path / 'here')!r}).read()") == "'yes'"
