//! The attempts.

/// Something that a process might try.
pub(super) struct Attempt {
    /// As the page says it.
    pub(super) what: &'static str,
    /// Ends with 0 where it succeeded. `PLACE` is the folder around the workspace, which is where it starts.
    pub(super) script: &'static str,
    /// Who may.
    pub(super) may: May,
    /// What the system may say where it refuses.
    pub(super) why: &'static [&'static str],
}

/// Which rows of the table let an attempt succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    Nobody,
    /// Those that change the workspace.
    Writers,
    /// Those that change all of it.
    WritersOfAll,
    /// Those in the machine's network.
    Online,
    Everybody,
}

const fn attempt(what: &'static str, script: &'static str, may: May, why: &'static [&'static str]) -> Attempt {
    Attempt { what, script, may, why }
}

const ABSENT: &[&str] = &["No such file or directory"];
const READ_ONLY: &[&str] = &["Read-only file system", "Device or resource busy"];
const NOT_PERMITTED: &[&str] = &["Operation not permitted"];
const NO_WAY: &[&str] = &["Connection refused", "Network is unreachable"];

pub(super) const ATTEMPTS: &[Attempt] = &[
    attempt(
        "read the passwords of the system",
        "grep -q root /etc/shadow || { cat /etc/shadow; echo 'it is empty' >&2; exit 1; }",
        May::Nobody,
        &["it is empty", "Permission denied"],
    ),
    attempt("read the engine's state", "grep -q canary $PLACE/state/state.db", May::Nobody, ABSENT),
    attempt("write the engine's state", "echo x >> $PLACE/state/state.db", May::Nobody, ABSENT),
    attempt("list the runs", "ls $PLACE/state/executions", May::Nobody, ABSENT),
    attempt("read another run's file", "grep -q canary $PLACE/state/executions/other/file", May::Nobody, ABSENT),
    attempt("write another run's file", "echo x >> $PLACE/state/executions/other/file", May::Nobody, ABSENT),
    attempt("read the person's credentials", "grep -q canary $PLACE/person/.aws/credentials", May::Nobody, ABSENT),
    attempt(
        "change the attempt's transcript",
        "test -f $PLACE/attempt/transcript.jsonl || { echo 'No such file or directory' >&2; exit 1; }; echo x >> $PLACE/attempt/transcript.jsonl",
        May::Nobody,
        ABSENT,
    ),
    attempt("read beside the workspace", "grep -q canary $PLACE/outside/secret", May::Nobody, ABSENT),
    attempt("read over `..`", "grep -q canary ../outside/secret", May::Nobody, ABSENT),
    attempt("read through a link", "grep -q canary escape/secret", May::Nobody, ABSENT),
    attempt("write beside the workspace", "touch $PLACE/outside/made", May::Nobody, ABSENT),
    attempt("write through a link", "touch escape/made", May::Nobody, ABSENT),
    attempt("make a hard link to a file outside", "ln -f $PLACE/outside/secret $TMPDIR/hard", May::Nobody, ABSENT),
    attempt(
        "change the system's programs",
        "touch /usr/bin/made-by-a-step && rm /usr/bin/made-by-a-step",
        May::Nobody,
        READ_ONLY,
    ),
    attempt(
        "change the system's settings",
        "touch /etc/made-by-a-step && rm /etc/made-by-a-step",
        May::Nobody,
        READ_ONLY,
    ),
    attempt("change a file of the workspace", "echo x >> a.txt", May::Writers, READ_ONLY),
    attempt("use its temporary folder", "echo x > $TMPDIR/x", May::Everybody, &[]),
    attempt("make a hook of git", "echo x > .git/hooks/post-commit", May::WritersOfAll, READ_ONLY),
    attempt("change git's configuration", "echo x >> .git/config", May::WritersOfAll, READ_ONLY),
    attempt("put another repository in git's place", "mv .git .moved && mv .moved .git", May::WritersOfAll, READ_ONLY),
    attempt("change an agent's settings", "echo '{}' > .claude/settings.json", May::WritersOfAll, READ_ONLY),
    attempt("name a tool server", "echo '{}' > .mcp.json", May::WritersOfAll, READ_ONLY),
    attempt(
        "read the key in another process's environment",
        "grep -q canary /proc/$VICTIM/environ",
        May::Nobody,
        ABSENT,
    ),
    attempt(
        "look for a key in every environment",
        "grep -lq canary-in-environment /proc/[0-9]*/environ || { echo 'No such file or directory' >&2; exit 1; }",
        May::Nobody,
        ABSENT,
    ),
    attempt(
        "find the key of the API",
        "env | grep -q the-canary-key || grep -lqa the-canary-key /proc/[0-9]*/environ || { echo 'it is not there' >&2; exit 1; }",
        May::Nobody,
        &["it is not there"],
    ),
    attempt(
        "read other processes' arguments",
        "grep -qa 'canary-among-argument[s]' /proc/[0-9]*/cmdline || { echo 'No such file or directory' >&2; exit 1; }",
        May::Nobody,
        ABSENT,
    ),
    attempt(
        "read another process's memory",
        "python3 -c 'import os; open(\"/proc/\" + os.environ[\"VICTIM\"] + \"/mem\", \"rb\")'",
        May::Nobody,
        ABSENT,
    ),
    attempt("read another process's files", "ls /proc/$VICTIM/cwd/", May::Nobody, ABSENT),
    attempt("send another process a signal", "kill -0 $VICTIM", May::Nobody, &["No such process"]),
    attempt(
        "trace another process",
        "python3 -c 'import ctypes, os, sys; c = ctypes.CDLL(None, use_errno=True); r = c.ptrace(0x4206, int(os.environ[\"VICTIM\"]), 0, 0); sys.exit(os.strerror(ctypes.get_errno()) if r else 0)'",
        May::Nobody,
        NOT_PERMITTED,
    ),
    attempt(
        "reach a listener on loopback",
        "python3 -c 'import os, socket; assert socket.create_connection((\"127.0.0.1\", int(os.environ[\"PORT\"])), 2).recv(9)'",
        May::Online,
        NO_WAY,
    ),
    attempt(
        "reach a listener on loopback without a connection",
        "python3 -c 'import os, socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.connect((\"127.0.0.1\", int(os.environ[\"ANSWERING\"]))); s.send(b\"x\"); assert s.recv(9)'",
        May::Online,
        NO_WAY,
    ),
    attempt(
        "reach the metadata address",
        "python3 -c 'import socket; assert socket.create_connection((\"169.254.169.254\", 80), 2).recv(9)'",
        May::Online,
        NO_WAY,
    ),
    attempt(
        "reach a socket outside by its path",
        "python3 -c 'import os, socket; s = socket.socket(socket.AF_UNIX); s.connect(os.environ[\"PLACE\"] + \"/outside/socket\"); assert s.recv(9)'",
        May::Nobody,
        ABSENT,
    ),
    attempt(
        "reach a socket outside by its abstract name",
        "python3 -c 'import os, socket; s = socket.socket(socket.AF_UNIX); s.connect(\"\\0\" + os.environ[\"PLACE\"]); assert s.recv(9)'",
        May::Nobody,
        &["Connection refused", "Operation not permitted"],
    ),
    attempt("read memory that others share", "grep -q canary $SHARED", May::Nobody, ABSENT),
    attempt("make a user namespace", "unshare --user true", May::Nobody, NOT_PERMITTED),
    attempt(
        "mount a file system",
        "python3 -c 'import ctypes, os, sys; c = ctypes.CDLL(None, use_errno=True); t = os.environ[\"TMPDIR\"].encode(); r = c.mount(b\"x\", t, b\"tmpfs\", 0, None); e = ctypes.get_errno(); r or c.umount2(t, 2); sys.exit(os.strerror(e) if r else 0)'",
        May::Nobody,
        NOT_PERMITTED,
    ),
    attempt("enter another process's namespaces", "nsenter --target $VICTIM --mount true", May::Nobody, ABSENT),
    attempt(
        "change the kernel's settings",
        "cat /proc/sys/kernel/domainname > /proc/sys/kernel/domainname",
        May::Nobody,
        READ_ONLY,
    ),
    attempt("make a device", "mknod $TMPDIR/disk b 254 0 && rm $TMPDIR/disk", May::Nobody, NOT_PERMITTED),
    attempt(
        "use a set-user-id program",
        "grep -q 'NoNewPrivs:.0' /proc/self/status || { echo 'Operation not permitted' >&2; exit 1; }",
        May::Nobody,
        NOT_PERMITTED,
    ),
    attempt(
        "have a capability",
        "! grep -qE 'Cap(Eff|Prm|Bnd):.0+$' /proc/self/status || { echo 'Operation not permitted' >&2; exit 1; }",
        May::Nobody,
        NOT_PERMITTED,
    ),
    attempt(
        "keep a key in the kernel",
        "python3 -c 'import ctypes, os, sys; c = ctypes.CDLL(None, use_errno=True); n = 248 if os.uname().machine == \"x86_64\" else 217; r = c.syscall(n, b\"user\", b\"x\", b\"x\", 1, -2); sys.exit(os.strerror(ctypes.get_errno()) if r < 0 else 0)'",
        May::Nobody,
        NOT_PERMITTED,
    ),
    attempt(
        "make calls that no filter sees",
        "python3 -c 'import ctypes, os, sys; c = ctypes.CDLL(None, use_errno=True); p = ctypes.create_string_buffer(120); r = c.syscall(425, 4, p); sys.exit(os.strerror(ctypes.get_errno()) if r < 0 else 0)'",
        May::Nobody,
        NOT_PERMITTED,
    ),
    attempt(
        "speak below the network's protocols",
        "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
        May::Nobody,
        NOT_PERMITTED,
    ),
    attempt(
        "fill the disk behind /tmp",
        "dd if=/dev/zero of=/tmp/made-by-a-step bs=1M count=80 || { rm -f /tmp/made-by-a-step; exit 1; }; rm /tmp/made-by-a-step",
        May::Nobody,
        &["No space left on device"],
    ),
    attempt("see what the system runs on", "ls -A /run /var/lib | grep -q .", May::Nobody, ABSENT),
];
