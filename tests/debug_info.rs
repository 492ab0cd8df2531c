//! Names from debug information, wherever an image's is, in a container that is gone when they are looked for;
//! and that none is used that may be of another file.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::container::Builder;
use support::ctrflame::{Ctrflame, Finished};
use support::folded::Folded;
use support::{Need, needs};

/// What the source says, with what was put into `outer`.
const WHOLE: [&str; 4] = ["main", "outer", "middle_[i]", "inner_[i]"];
/// Where only symbols are left.
const SYMBOLS: [&str; 2] = ["main", "outer"];

/// Where the programs are built: the directory of each is what is in the container at `/app`.
struct Builds {
    dir: tempfile::TempDir,
}

fn run(command: &mut Command) {
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        done.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

impl Builds {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        for inside in ["app/.debug", "debug"] {
            fs::create_dir_all(dir.path().join(inside)).expect("ours");
        }
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), open).expect("ours");
        Self { dir }
    }

    fn app(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    fn tool(&self, program: &str, args: &[&str]) {
        run(Command::new(program).current_dir(self.app()).args(args));
    }

    /// A program in `/app`, with debug information and what these flags say.
    fn gcc(&self, name: &str, flags: &[&str]) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/workloads/inlined.c");
        let source = source.to_str().expect("our own paths are text");
        let basic = [
            "-O2",
            "-g",
            "-static",
            "-fno-omit-frame-pointer",
            "-fno-optimize-sibling-calls",
        ];
        // The programs are the same; their build ids are not.
        let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        let id = format!("-Wl,--build-id=0x{hex:0<40}");
        self.tool(
            "gcc",
            &[&basic[..], &[&id], flags, &["-o", name, source]].concat(),
        );
    }

    /// Its debug information in a file of its own; it keeps what `strip` leaves.
    fn strip(&self, name: &str, debug_file: &str) {
        self.tool("objcopy", &["--only-keep-debug", name, debug_file]);
        self.tool("strip", &[name]);
    }

    fn build_id(&self, name: &str) -> String {
        let mut readelf = Command::new("readelf");
        let notes = readelf.arg("-n").arg(self.app().join(name)).output();
        let notes = notes.expect("readelf runs");
        let notes = String::from_utf8_lossy(&notes.stdout).into_owned();
        let id = notes
            .split("Build ID: ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        id.unwrap_or_else(|| panic!("{name}: {notes}")).to_owned()
    }

    /// Where a debug file with a build id belongs, below `/usr/lib/debug`.
    fn by_id(&self, id: &str) -> String {
        let (first, rest) = id.split_at(2);
        let dir = self.dir.path().join("debug/.build-id").join(first);
        fs::create_dir_all(&dir).expect("ours");
        let path = dir.join(format!("{rest}.debug"));
        path.to_str().expect("text").to_owned()
    }

    /// All programs; their names are their threads'.
    fn all(&self) {
        self.gcc("own", &[]);

        self.gcc("packed", &[]);
        self.tool("objcopy", &["--compress-debug-sections=zstd", "packed"]);

        // Symbols without debug information, which is elsewhere.
        self.gcc("by-id", &[]);
        let debug = self.by_id(&self.build_id("by-id"));
        self.strip("by-id", &debug);

        self.gcc("half", &[]);
        self.tool("objcopy", &["--only-keep-debug", "half", "half.full"]);
        self.tool("strip", &["-g", "half"]);
        self.tool("objcopy", &["--add-gnu-debuglink=half.full", "half"]);

        // The debug file of another program under its build id.
        self.gcc("other-id", &[]);
        let debug = self.by_id(&self.build_id("other-id"));
        self.strip("other-id", "other.debug");
        fs::copy(self.app().join("half.full"), debug).expect("copied");
        fs::remove_file(self.app().join("other.debug")).expect("ours");

        for name in ["linked", "changed"] {
            self.gcc(name, &["-Wl,--build-id=none"]);
            let debug = format!(".debug/{name}.dbg");
            self.strip(name, &debug);
            self.tool("objcopy", &[&format!("--add-gnu-debuglink={debug}"), name]);
        }
        let changed = self.app().join(".debug/changed.dbg");
        let mut bytes = fs::read(&changed).expect("written");
        bytes.push(0);
        fs::write(changed, bytes).expect("ours");

        self.gcc("shared", &["-gdwarf-4"]);
        self.gcc("shared-too", &["-gdwarf-4"]);
        self.tool("dwz", &["-m", "common.dwz", "shared", "shared-too"]);

        self.gcc("split", &["-gsplit-dwarf"]);

        self.gcc("package", &["-gsplit-dwarf", "-gdwarf-4"]);
        self.tool("dwp", &["-e", "package", "-o", "package.dwp"]);
        fs::remove_file(self.app().join("package-inlined.dwo")).expect("ours");

        self.gcc("split-gone", &["-gsplit-dwarf"]);
        fs::remove_file(self.app().join("split-gone-inlined.dwo")).expect("ours");

        self.gcc("mini", &["-Wl,--build-id=none"]);
        self.tool(
            "objcopy",
            &["-S", "--only-keep-debug", "mini", "mini.debug"],
        );
        self.tool("objcopy", &["--strip-debug", "mini", "mini.symbols"]);
        self.tool("strip", &["mini"]);
        self.tool("xz", &["-f", "mini.symbols"]);
        let section = "--add-section=.gnu_debugdata=mini.symbols.xz";
        self.tool("objcopy", &[section, "mini"]);
        fs::remove_file(self.app().join("mini.debug")).expect("ours");

        self.gcc("no-symbols", &[]);
        self.tool("objcopy", &["-w", "--strip-symbol=*", "no-symbols"]);

        self.gcc("stripped", &["-Wl,--build-id=none"]);
        self.tool("strip", &["stripped"]);
    }
}

/// The share of a program's samples (in user code) that have all these names, one after the other.
fn share(folded: &Folded, comm: &str, names: &[&str]) -> f64 {
    let own = folded.comm(comm).only(|stack| {
        let leaf = stack.user_leaf();
        leaf.is_some_and(|leaf| !leaf.contains("vdso") && !leaf.starts_with("clock"))
    });
    assert!(own.total() >= 20, "{comm}: {own}");
    own.share(|stack| stack.has_chain(names))
}

#[test]
fn debug_information_is_found_wherever_it_is_and_never_another_files() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let builds = Builds::new();
    builds.all();
    let programs = [
        "own",
        "packed",
        "by-id",
        "half",
        "other-id",
        "linked",
        "changed",
        "shared",
        "split",
        "package",
        "split-gone",
        "mini",
        "no-symbols",
        "stripped",
    ];
    let script = format!("for p in {}; do /app/$p 3 & done; wait", programs.join(" "));
    let container = Builder::new(&host, &["/bin/sh", "-c", &script])
        .busybox()
        .bind(builds.app(), "/app")
        .bind(builds.dir.path().join("debug"), "/usr/lib/debug")
        .start();
    let tag = container.tag();
    let id = container.id()[..12].to_owned();
    let run = Ctrflame::record(["-G", &id, "-F", "999", "--duration", "4s", "-o", "x.data"])
        .run()
        .expect_code(0);
    drop(container);
    let folded = run.folded().container(&tag);
    for comm in [
        "own",
        "packed",
        "by-id",
        "half",
        "linked",
        "shared",
        "split",
        "package",
        "no-symbols",
    ] {
        let whole = share(&folded, comm, &WHOLE);
        assert!(
            whole > 0.9,
            "{comm}: {whole}\n{}\n{}",
            folded.comm(comm),
            run.stderr
        );
    }
    for comm in ["mini", "split-gone"] {
        let named = share(&folded, comm, &SYMBOLS);
        assert!(named > 0.9, "{comm}: {named}\n{}", folded.comm(comm));
        assert!(!folded.comm(comm).mentions("_[i]"), "{}", folded.comm(comm));
    }
    for comm in ["other-id", "changed", "stripped"] {
        let label = format!("[stripped {comm}]");
        let unnamed = share(&folded, comm, &[&label, &label]);
        assert!(unnamed > 0.9, "{comm}: {unnamed}\n{}", folded.comm(comm));
        assert!(
            !folded.comm(comm).mentions("outer"),
            "{}",
            folded.comm(comm)
        );
    }
    let titles = run.svg().titles.join("\n");
    assert!(titles.contains("inner"), "{titles}");

    // What the recording carries says the same, and leaves the same out.
    let again = Ctrflame::convert(&run.cwd().join("x.data"), &[]).expect_code(0);
    assert_eq!(again.read("out.folded"), run.read("out.folded"));
    let without = Ctrflame::convert(&run.cwd().join("x.data"), &["--no-inline"]).expect_code(0);
    let without = without.folded().container(&tag);
    assert!(!without.mentions("_[i]"), "{without}");
    for comm in ["own", "half", "linked", "split"] {
        let named = share(&without, comm, &SYMBOLS);
        assert!(named > 0.9, "{comm}: {named}\n{}", without.comm(comm));
    }
    assert_eq!(without.total(), folded.total());
}

#[test]
fn without_inlines_debug_information_still_names_what_has_no_symbol() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let builds = Builds::new();
    builds.gcc("no-symbols", &[]);
    builds.tool("objcopy", &["-w", "--strip-symbol=*", "no-symbols"]);
    let program = builds.app().join("no-symbols");
    let program = program.to_str().expect("our own paths are text");
    let run = Ctrflame::record(["-F", "999", "--no-inline", "--", program, "1"])
        .run()
        .expect_code(0);
    let folded = run.folded();
    let named = share(&folded, "no-symbols", &SYMBOLS);
    assert!(named > 0.9, "{named}\n{folded}");
    assert!(!folded.mentions("_[i]"), "{folded}");
}

/// Serves one file to everyone who asks for its build id, and nothing to others.
fn serve(id: &str, file: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let wanted = format!("GET /buildid/{id}/debuginfo ");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            let is_it = request[..count].starts_with(wanted.as_bytes());
            let (status, body) = match is_it {
                true => ("200 OK", &file[..]),
                false => ("404 Not Found", &[][..]),
            };
            let len = body.len();
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(body);
        }
    });
    url
}

#[test]
fn debuginfod_is_asked_only_where_it_is_named_and_gives_only_the_right_file() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let builds = Builds::new();
    for name in ["fetched", "another"] {
        builds.gcc(name, &[]);
        builds.strip(name, &format!("{name}.away"));
    }
    let away = |name: &str| {
        let path = builds.app().join(format!("{name}.away"));
        fs::read(path).expect("written")
    };
    let record = |server: Option<&str>, cache: &Path, args: &[&str]| {
        let program = builds.app().join("fetched");
        let program = program.to_str().expect("our own paths are text");
        let run = Ctrflame::record(["-F", "999"]).args(args.iter().copied());
        let run = run.args(["--", program, "1"]);
        let run = run.env("DEBUGINFOD_CACHE_PATH", cache);
        run.env("DEBUGINFOD_URLS", server.unwrap_or_default())
            .run()
            .expect_code(0)
    };
    let id = builds.build_id("fetched");
    let (right, wrong) = (serve(&id, away("fetched")), serve(&id, away("another")));
    let cache = tempfile::tempdir().expect("a directory");
    let unnamed = |run: &Finished| share(&run.folded(), "fetched", &["[stripped fetched]"]);
    let run = record(None, cache.path(), &[]);
    assert!(
        unnamed(&run) > 0.9 && !run.stderr.contains("debuginfod"),
        "{}",
        run.stderr
    );
    let run = record(Some(&right), cache.path(), &["--no-debuginfod"]);
    assert!(
        unnamed(&run) > 0.9 && !run.stderr.contains("debuginfod"),
        "{}",
        run.stderr
    );
    let elsewhere = tempfile::tempdir().expect("a directory");
    let run = record(Some(&wrong), elsewhere.path(), &[]);
    assert!(unnamed(&run) > 0.9, "{}", run.folded());
    let run = record(Some(&right), cache.path(), &[]);
    let whole = share(&run.folded(), "fetched", &WHOLE);
    assert!(whole > 0.9, "{whole}\n{}\n{}", run.folded(), run.stderr);
    assert!(
        run.stderr.contains("asking debuginfod for "),
        "{}",
        run.stderr
    );
    assert!(cache.path().join(&id).join("debuginfo").exists());
}
