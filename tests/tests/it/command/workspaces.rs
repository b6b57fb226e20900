//! Which files a run works on: what a workflow leaves out, repositories that it names, and how much a step may leave.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
};

use ratchet_tests::world::World;

use super::state;

const SECRET: &str = "c4n4ry-of-a-repository";

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A bare repository with one commit on `trunk`, outside the working directory.
fn repository(world: &World) -> PathBuf {
    let (work, bare) = (world.outside("author"), world.outside("project.git"));
    fs::create_dir(&work).expect("a folder");
    git(&work, &["init", "-q", "-b", "trunk"]);
    fs::write(work.join("file"), "one\n").expect("a file");
    git(&work, &["add", "."]);
    git(&work, &["commit", "-qm", "begin"]);
    git(&work, &["clone", "-q", "--bare", ".", bare.to_str().expect("UTF-8")]);
    bare
}

/// Every file below a folder that holds some bytes.
fn holding(folder: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = open.pop() {
        let Ok(kind) = path.symlink_metadata().map(|metadata| metadata.file_type()) else { continue };
        if kind.is_dir() {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if kind.is_file() && fs::read(&path).is_ok_and(|text| text.windows(bytes.len()).any(|at| at == bytes)) {
            found.push(path);
        }
    }
    found
}

#[test]
fn what_is_excluded_is_neither_seen_nor_kept_nor_touched() {
    for world in [World::new(), World::of_copies()] {
        excludes(&world);
    }
}

fn excludes(world: &World) {
    world.write("data/large.bin", "mine\n");
    world.write("a.log", "mine\n");
    world.write("deep/a.log", "seen\n");
    world.write(
        "workflow.yaml",
        r#"
name: part
version: "1"
workspace:
  source: snapshot
  exclude: ["*.log", data/, out]
steps:
  - id: first
    type: shell
    command: |
      test ! -e data && test ! -e a.log && test -e deep/a.log
      mkdir data out; echo new > data/large.bin; echo new > b.log; echo new > out/report; echo kept > kept; pwd -P
    outputs:
      report: ./out/report
      place: { type: string, from: stdout }
  - id: second
    type: shell
    command: test ! -e data && test ! -e b.log && test ! -e out && test -e kept && grep new {{ first.outputs.report }}
  - id: third
    type: template
    template: x
    output: data/x
    on_failure: continue
"#,
    );
    let seen = state(world, &["run", ".", "--json", "--until", "second"]);
    let place = seen["steps"]["first"]["outputs"]["place"].as_str().expect("a path");
    let home = world.work().canonicalize().expect("a path");
    assert_eq!(Path::new(place).starts_with(home.join(".ratchet")), world.state().starts_with(world.work()), "{place}");
    assert_eq!(seen["application"]["paths"], serde_json::json!(["kept"]));
    let files = ["data/large.bin", "a.log", "deep/a.log", "kept"].map(|path| world.read(path));
    assert_eq!(files, ["mine\n", "mine\n", "seen\n", "kept\n"]);
    assert!(!world.work().join("out").exists() && !world.work().join("b.log").exists());
    let third: serde_json::Value =
        serde_json::from_str(&world.ratchet(["run", ".", "--json"]).expect_code(4).stdout).expect("JSON");
    let message = third["steps"]["third"]["error"]["message"].to_string();
    assert!(message.contains("leaves the workspace"), "{third:#}");
    assert_eq!(world.read("data/large.bin"), "mine\n");
}

/// Tools that a package manager put beside the code, and a virtual environment whose packages are the code itself.
#[test]
fn what_git_ignores_and_steps_need_is_there() {
    for world in [World::new(), World::of_copies()] {
        let is_copied = world.state().starts_with(world.work());
        world.write(".gitignore", "node_modules/\n.venv/\n.ratchet/\n");
        let tool = world.write("node_modules/greet/greet.sh", "#!/bin/sh\necho hello\n");
        world.must("chmod", &["+x", &tool.display().to_string()]);
        world.must("mkdir", &["node_modules/.bin"]);
        world.must("ln", &["-s", "../greet/greet.sh", "node_modules/.bin/greet"]);
        world.write(
            "workflow.yaml",
            r#"
name: tools
version: "1"
steps:
  - id: edits
    type: shell
    command: echo "WORD = 'new'" > src/mine.py; echo cached > node_modules/.cache
  - id: greets
    type: shell
    command: cat node_modules/.cache; node_modules/.bin/greet
    outputs: { said: { type: string, from: stdout } }
  - id: imports
    type: shell
    command: .venv/bin/python -c 'import mine; print(mine.WORD)'
    outputs: { said: { type: string, from: stdout } }
"#,
        );
        world.write("src/mine.py", "WORD = 'old'\n");
        git(&world.work(), &["init", "-q", "-b", "trunk"]);
        git(&world.work(), &["add", "."]);
        git(&world.work(), &["commit", "-qm", "begin"]);
        let run = state(&world, &["run", ".", "--json", "--until", "greets"]);
        assert_eq!(run["steps"]["greets"]["outputs"]["said"], "cached\nhello");
        assert_eq!(run["application"]["paths"], serde_json::json!(["src/mine.py"]));
        assert!(!world.work().join("node_modules/.cache").exists(), "what git ignores is not applied");
        world.write("src/mine.py", "WORD = 'old'\n");
        world.must("python3", &["-m", "venv", "--without-pip", ".venv"]);
        let editable = format!(
            "echo {} > \"$(echo .venv/lib/python*/site-packages)/mine.pth\"",
            world.work().join("src").display()
        );
        world.must("sh", &["-c", &editable]);
        let more = if is_copied {
            let refused = world.ratchet(["run", "."]).expect_code(1).stdout;
            assert!(refused.contains("RT-0255") && refused.contains("--in-place"), "{refused}");
            &["--in-place"][..]
        } else {
            &[]
        };
        let run = state(&world, &[&["run", ".", "--json"], more].concat());
        assert_eq!(run["steps"]["imports"]["outputs"]["said"], "new", "of the files that the steps see");
    }
}

#[test]
fn a_run_on_a_repository_leaves_the_directory_alone_and_pushes_what_its_steps_push() {
    let world = World::new();
    let bare = repository(&world);
    world.write("file", "mine\n");
    world.write(
        "workflow.yaml",
        &r#"
name: fixes
version: "1"
inputs: { branch: { type: string, default: trunk } }
workspace: { source: git, url: "file://BARE", ref: "{{ inputs.branch }}" }
steps:
  - { id: looks, type: shell, command: test "$(cat file)" = one && test "$(git rev-parse --abbrev-ref HEAD)" = trunk }
  - { id: edits, type: shell, command: echo two > file && git commit -qam two }
  - { id: pushes, type: shell, command: git push -qf origin HEAD, on_lost: pause }
"#
        .replace("BARE", bare.to_str().expect("UTF-8")),
    );
    for refused in [&["--in-place"][..], &["--workspace", "."]] {
        let done = world.ratchet([&["run", "."][..], refused].concat()).expect_code(2);
        assert!(done.stderr.contains("a checkout of its own"), "{}", done.stderr);
    }
    let lost = world.ratchet(["run", ".", "-i", "branch=nowhere"]).expect_code(1);
    assert!(lost.stderr.contains("RT-0278") && lost.stderr.contains("nowhere"), "{}", lost.stderr);
    assert_eq!(state(&world, &["list", "--json"]).as_array().map(Vec::len), Some(0), "nothing is left of it");
    let done = world.ratchet(["run", "."]).expect_code(0);
    assert!(done.stdout.contains("a checkout of file://"), "{}", done.stdout);
    assert_eq!((world.read("file").as_str(), git(&bare, &["show", "trunk:file"]).as_str()), ("mine\n", "two"));
    let diff = world.ratchet(["diff", "last"]).expect_code(0);
    assert!(diff.stdout.contains("-one") && diff.stdout.contains("+two"), "{}", diff.stdout);
    let apply = world.ratchet(["apply", "last"]).expect_code(2);
    assert!(apply.stderr.contains("ratchet diff"), "{}", apply.stderr);
    // The files that its steps saw then are there, whatever the repository is now.
    world.ratchet(["resume", "last", "--from", "looks"]).expect_code(0);
}

/// What a server was asked: each request's first line, and whether it came with the right password.
type Asked = Arc<Mutex<Vec<(String, bool)>>>;

/// Serves the files of a folder to whoever knows the password.
fn serve(folder: PathBuf, authorization: &'static str) -> (u16, Asked, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Asked::default();
    let (tell, told) = channel();
    let answered = asked.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (folder, asked, tell) = (folder.clone(), answered.clone(), tell.clone());
            thread::spawn(move || {
                answer(stream, &folder, authorization, &asked);
                drop(tell);
            });
        }
    });
    (port, asked, told)
}

fn answer(stream: TcpStream, folder: &Path, authorization: &str, asked: &Asked) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut may) = (String::new(), false);
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        may |= line.trim_end() == format!("Authorization: Basic {authorization}");
        line.clear();
    }
    asked.lock().expect("a list").push((first.trim_end().to_owned(), may));
    let path = first.split_whitespace().nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default().trim_start_matches('/');
    let (status, body) = match fs::File::open(folder.join(path)) {
        _ if !may => ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", Vec::new()),
        Ok(mut file) => {
            let mut body = Vec::new();
            let _ = file.read_to_end(&mut body);
            ("200 OK", body)
        }
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let stream = reader.get_mut();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

#[test]
fn the_secret_of_a_repository_is_seen_by_its_git_alone() {
    let mut world = World::new();
    let bare = repository(&world);
    // The old way of git over HTTP: plain files.
    git(&bare, &["update-server-info"]);
    // x-access-token:c4n4ry-of-a-repository
    let (port, asked, _told) = serve(world.outside(""), "eC1hY2Nlc3MtdG9rZW46YzRuNHJ5LW9mLWEtcmVwb3NpdG9yeQ==");
    world.write(
        "workflow.yaml",
        &r#"
name: secret
version: "1"
workspace: { source: git, url: "http://127.0.0.1:PORT/project.git", credentials: PROJECT }
steps:
  - { id: looks, type: shell, command: test "$(cat file)" = one; env; cat .git/config; tr '\0' '\n' < /proc/self/environ }
"#
        .replace("PORT", &port.to_string()),
    );
    let missing = world.ratchet(["run", "."]).expect_code(1);
    assert!(missing.stderr.contains("RT-0220") && missing.stderr.contains("PROJECT"), "{}", missing.stderr);
    world.variables.push(("RATCHET_SECRET_PROJECT".to_owned(), "wr0ng-c4n4ry".to_owned()));
    // A helper of the person's own would keep what it is told.
    let kept = world.outside("kept-by-a-helper");
    fs::write(
        world.outside("home/.gitconfig"),
        format!("[credential]\n\thelper = \"!f() {{ cat >> {}; }}; f\"\n", kept.display()),
    )
    .expect("a file");
    let refused = world.ratchet(["run", "."]).expect_code(1);
    assert!(refused.stderr.contains("RT-0278") && !refused.stderr.contains("wr0ng"), "{}", refused.stderr);
    if let Some(secret) = world.variables.last_mut() {
        secret.1 = format!("{SECRET}\n");
    }
    let done = world.ratchet(["run", ".", "--json"]).expect_code(0);
    let log = world.ratchet(["logs", "last"]).expect_code(0);
    for text in [&done.stdout, &done.stderr, &log.stdout] {
        assert!(!text.contains(SECRET), "{text}");
    }
    assert!(asked.lock().expect("a list").iter().any(|(line, may)| *may && line.contains("/info/refs")));
    for folder in [world.state(), world.outside("home"), world.work()] {
        assert_eq!(holding(&folder, SECRET.as_bytes()), Vec::<PathBuf>::new());
    }
    assert!(!kept.exists(), "no other helper is told");
}

#[test]
fn what_a_step_may_leave_is_bounded_and_told_at_once() {
    let world = World::new();
    world.write("mine", "mine\n");
    // Nobody reads so much of nothing: what is too large is told by its size.
    for (outputs, says) in [("", "the largest file is sparse"), ("{ big: ./sparse }", "the output big has")] {
        let outputs = if outputs.is_empty() { String::new() } else { format!("    outputs: {outputs}\n") };
        world.write(
            "workflow.yaml",
            &format!(
                "name: bounded\nversion: \"1\"\nsteps:\n  - {{ id: before, type: shell, command: echo kept > kept }}\n\
                 \x20 - id: fills\n    type: shell\n    command: truncate -s 900G sparse; echo changed > mine\n{outputs}\
                 \x20   resources: {{ disk: 21 }}\n"
            ),
        );
        let done = world.ratchet(["run", "."]).expect_code(1);
        let text = format!("{}{}", done.stdout, done.stderr);
        assert!(text.contains("RT-0273") && text.contains(says), "{text}");
        assert_eq!(world.read("mine"), "mine\n");
        assert!(!world.work().join("kept").exists() && !world.work().join("sparse").exists());
        let state = state(&world, &["status", "--json"]);
        assert_eq!(state["steps"]["before"]["status"], "completed");
    }
}
