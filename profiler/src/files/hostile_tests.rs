//! What a container can put under a path that we open, each thing tried.

use super::below::Resolver;
use super::testing::text;
use super::{FileError, FileKind, LastLink, TargetRoot};
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

const RESOLVERS: [Resolver; 2] = [Resolver::Kernel, Resolver::Walk];

/// A directory with `etc/shadow` and `tmp/` in it, taken as a root.
struct Root {
    dir: tempfile::TempDir,
    pin: TargetRoot,
}

impl Root {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("etc")).expect("etc");
        fs::create_dir(dir.path().join("tmp")).expect("tmp");
        fs::write(dir.path().join("etc/shadow"), "inside").expect("writes");
        let pin = TargetRoot::test_root(dir.path());
        Self { dir, pin }
    }

    fn host_path(&self, inside: &str) -> std::path::PathBuf {
        self.dir.path().join(inside)
    }

    fn text(&self, path: &str, last: LastLink) -> Result<String, FileError> {
        text(self.pin.open(Path::new(path), last))
    }

    /// The kind for which both resolvers refuse `path`.
    fn refused_kind(&self, path: &str) -> FileKind {
        let [kernel, walk] = RESOLVERS.map(|resolver| {
            match self
                .pin
                .open_by(Path::new(path), LastLink::Refuse, resolver)
            {
                Err(FileError::NotRegular { kind, .. }) => kind,
                other => panic!("{resolver:?}: {other:?}"),
            }
        });
        assert_eq!(kernel, walk);
        kernel
    }
}

#[test]
fn pipes_sockets_and_directories_are_refused_unopened() {
    let root = Root::new();
    nix::unistd::mkfifo(
        &root.host_path("tmp/perf-1.map"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .expect("a pipe");
    let _listener = UnixListener::bind(root.host_path("tmp/socket")).expect("a socket");
    assert_eq!(root.refused_kind("/tmp/perf-1.map"), FileKind::Fifo);
    assert_eq!(root.refused_kind("/tmp/socket"), FileKind::Socket);
    assert_eq!(root.refused_kind("/tmp"), FileKind::Directory);
    assert_eq!(root.refused_kind("/"), FileKind::Directory);
}

#[test]
fn devices_are_refused_unopened() {
    let host = TargetRoot::host().expect("our own root");
    for resolver in RESOLVERS {
        match host.open_by(Path::new("/dev/null"), LastLink::Follow, resolver) {
            Err(FileError::NotRegular { kind, .. }) => assert_eq!(kind, FileKind::CharDevice),
            other => panic!("{resolver:?}: {other:?}"),
        }
    }
}

#[test]
fn links_resolve_below_the_root_whatever_they_name() {
    let root = Root::new();
    symlink("/etc/shadow", root.host_path("tmp/absolute")).expect("a link");
    symlink("../../../../../etc/shadow", root.host_path("tmp/climbing")).expect("a link");
    symlink("/etc", root.host_path("tmp/dir")).expect("a link");
    symlink("/etc/hostname", root.host_path("tmp/hosts")).expect("a link");
    for path in [
        "/tmp/absolute",
        "/tmp/climbing",
        "tmp/dir/shadow",
        "/tmp/dir/../etc/shadow",
    ] {
        assert_eq!(
            root.text(path, LastLink::Follow).expect(path),
            "inside",
            "{path}"
        );
    }
    // The host has it, the root has not.
    let missing = root.text("/tmp/hosts", LastLink::Follow);
    assert!(
        matches!(missing, Err(FileError::NotFound { .. })),
        "{missing:?}"
    );
}

#[test]
fn dots_do_not_climb_out_of_the_root() {
    let root = Root::new();
    for path in [
        "../../../../../../etc/shadow",
        "/../etc/shadow",
        "/tmp/../../etc/./shadow",
    ] {
        for resolver in RESOLVERS {
            let held = root
                .pin
                .open_by(Path::new(path), LastLink::Refuse, resolver);
            assert_eq!(text(held).expect(path), "inside", "{path} by {resolver:?}");
        }
    }
}

#[test]
fn a_last_link_is_refused_where_it_was_not_asked_for() {
    let root = Root::new();
    symlink("/etc/shadow", root.host_path("tmp/perf-1.map")).expect("a link");
    match root
        .pin
        .open(Path::new("/tmp/perf-1.map"), LastLink::Refuse)
    {
        Err(FileError::NotRegular { kind, path }) => {
            assert_eq!(kind, FileKind::Symlink);
            assert_eq!(path, Path::new("/tmp/perf-1.map"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_openat2_every_link_on_the_way_is_refused() {
    let root = Root::new();
    symlink("/etc", root.host_path("tmp/dir")).expect("a link");
    symlink("/etc/shadow", root.host_path("tmp/file")).expect("a link");
    for path in ["/tmp/dir/shadow", "/tmp/file"] {
        let refused = root
            .pin
            .open_by(Path::new(path), LastLink::Follow, Resolver::Walk);
        assert!(
            matches!(refused, Err(FileError::LinkRefused { .. })),
            "{path}: {refused:?}"
        );
    }
    let missing = root
        .pin
        .open_by(Path::new("/etc/shadow/x"), LastLink::Follow, Resolver::Walk);
    assert!(
        matches!(missing, Err(FileError::NotFound { .. })),
        "{missing:?}"
    );
}

#[test]
fn magic_links_and_endless_links_are_refused() {
    let host = TargetRoot::host().expect("our own root");
    for path in [
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd/x",
        "/proc/self/exe",
    ] {
        for resolver in RESOLVERS {
            let refused = host.open_by(Path::new(path), LastLink::Follow, resolver);
            assert!(
                matches!(refused, Err(FileError::LinkRefused { .. })),
                "{path} by {resolver:?}: {refused:?}"
            );
        }
    }
    let root = Root::new();
    symlink("loop", root.host_path("tmp/loop")).expect("a link");
    let refused = root.text("/tmp/loop", LastLink::Follow);
    assert!(
        matches!(refused, Err(FileError::LinkRefused { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_sparse_giant_is_refused_by_its_size() {
    const TEN_GIB: u64 = 10 << 30;
    let root = Root::new();
    let giant = fs::File::create(root.host_path("tmp/giant")).expect("creates");
    giant.set_len(TEN_GIB).expect("sparse files");
    let held = root
        .pin
        .open(Path::new("/tmp/giant"), LastLink::Refuse)
        .expect("holds");
    assert_eq!(held.identity().expect("identity").size_bytes, TEN_GIB);
    match held.open_regular(TEN_GIB - 1) {
        Err(FileError::TooLarge {
            size_bytes,
            limit_bytes,
            ..
        }) => {
            assert_eq!((size_bytes, limit_bytes), (TEN_GIB, TEN_GIB - 1));
        }
        other => panic!("{other:?}"),
    }
    let opened = held.open_regular(TEN_GIB).expect("within the limit");
    assert_eq!(opened.read_at(TEN_GIB - 3, 3).expect("the end"), [0; 3]);
}

#[test]
fn a_held_file_stays_itself_when_its_path_is_deleted_or_becomes_a_pipe() {
    let root = Root::new();
    let path = root.host_path("etc/shadow");
    let held = root
        .pin
        .open(Path::new("/etc/shadow"), LastLink::Refuse)
        .expect("holds");
    fs::remove_file(&path).expect("deletes");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    assert_eq!(text(Ok(held)).expect("still the file"), "inside");
}

#[test]
fn a_file_truncated_while_held_is_an_error_not_a_signal() {
    let root = Root::new();
    let path = root.host_path("etc/shadow");
    let held = root
        .pin
        .open(Path::new("/etc/shadow"), LastLink::Refuse)
        .expect("holds");
    let opened = held.open_regular(100).expect("opens");
    fs::File::create(&path).expect("truncates");
    match opened.read_all() {
        Err(FileError::Shrunk {
            size_bytes,
            end_bytes,
            path,
        }) => {
            assert_eq!((size_bytes, end_bytes), (6, 0));
            assert_eq!(path, Path::new("/etc/shadow"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_path_with_a_nul_byte_or_without_end_is_an_error() {
    let root = Root::new();
    let endless = format!("/{}", "a/".repeat(5_000));
    for path in ["/etc/sha\0dow", &endless] {
        for resolver in RESOLVERS {
            assert!(
                root.pin
                    .open_by(Path::new(path), LastLink::Follow, resolver)
                    .is_err()
            );
        }
    }
}
