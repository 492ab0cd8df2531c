//! What a pin and a held file keep when the process and its namespaces are gone, on real namespaces.

use super::below::{Resolver, hold_below};
use super::testing::{Sandbox, is_root_or_skips, skip, text, wait_until};
use super::{FileError, HeldFile, LastLink, RootIdentity, TargetRoot, mnt_ns_of, within};
use crate::HostPid;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const ECHO: &str = r#"read -r line; echo "$line"; read -r line"#;

#[test]
fn a_pin_shows_the_containers_files_not_the_hosts() {
    if !is_root_or_skips("a_pin_shows_the_containers_files_not_the_hosts") {
        return;
    }
    let container = Sandbox::container(ECHO);
    let pin = TargetRoot::of_process(container.pid()).expect("pins");
    let open = |path: &str| text(pin.open(Path::new(path), LastLink::Follow));
    assert_eq!(open("/etc/name").expect("there"), "container\n");
    assert_eq!(open("/etc/absolute").expect("link"), "container\n");
    assert_eq!(
        open("../../../tmp/nested").expect("stays inside"),
        "nested\n"
    );
    let missing = open("/etc/shadow");
    assert!(
        matches!(missing, Err(FileError::NotFound { .. })),
        "{missing:?}"
    );
    let refused = open(&format!("/proc/{}/root/etc/name", std::process::id()));
    assert!(
        matches!(refused, Err(FileError::LinkRefused { .. })),
        "{refused:?}"
    );

    assert_ne!(pin.mnt_ns(), TargetRoot::host().expect("host").mnt_ns());
    assert_eq!(pin.mnt_ns(), mnt_ns_of(container.pid()).expect("alive"));
    assert_eq!(
        pin.root_identity(),
        RootIdentity::of_process(container.pid()).expect("alive")
    );
}

#[test]
fn a_pin_outlives_its_container_with_the_mounts_inside_it() {
    if !is_root_or_skips("a_pin_outlives_its_container_with_the_mounts_inside_it") {
        return;
    }
    let container = Sandbox::container("cp /usr/bin/cat /tmp/cat; exec /tmp/cat");
    let pid = container.pid();
    let pin = TargetRoot::of_process(pid).expect("pins");
    let root_alone = OwnedFd::from(fs::File::open(format!("/proc/{}/root", pid.0)).expect("root"));
    let image = HeldFile::mapped(pid, container.text_of("/tmp/cat")).expect("holds");
    container.end();

    assert!(matches!(
        TargetRoot::of_process(pid),
        Err(FileError::Gone { .. })
    ));
    let nested = Path::new("/tmp/nested");
    let name = Path::new("/etc/name");
    assert_eq!(
        text(pin.open(nested, LastLink::Refuse)).expect("nested"),
        "nested\n"
    );
    assert_eq!(
        text(pin.open(name, LastLink::Refuse)).expect("root mount"),
        "container\n"
    );

    // With the pin the namespace goes, and with that what was mounted in it. It is the pin that
    // kept it: the root directory alone does not.
    drop(pin);
    wait_until("the namespace is torn down", || {
        matches!(
            hold_below(
                root_alone.as_fd(),
                nested,
                LastLink::Refuse,
                Resolver::Kernel
            ),
            Err(FileError::NotFound { .. })
        )
    });
    // A held file needs neither, though the mount it was reached by is no more.
    let bytes = image
        .open_regular(1 << 30)
        .expect("reopens")
        .read_all()
        .expect("reads");
    assert!(
        bytes == fs::read("/usr/bin/cat").expect("reads"),
        "other bytes than /usr/bin/cat"
    );
}

#[test]
fn a_mapped_file_is_the_mapped_inode_after_its_path_names_another() {
    if !is_root_or_skips("a_mapped_file_is_the_mapped_inode_after_its_path_names_another") {
        return;
    }
    let container = Sandbox::container("cp /usr/bin/cat /tmp/cat; exec /tmp/cat");
    let pid = container.pid();
    let seen_as = format!("/proc/{}/root/tmp/cat", pid.0);
    let avma = container.text_of("/tmp/cat");
    let before = HeldFile::mapped(pid, avma.clone())
        .expect("holds")
        .identity()
        .expect("identity");
    fs::remove_file(&seen_as).expect("deletes");
    fs::write(&seen_as, "another").expect("replaces");

    let held = HeldFile::mapped(pid, avma.clone()).expect("holds");
    assert_eq!(held.identity().expect("identity"), before);
    assert_eq!(
        before.size_bytes,
        fs::metadata("/usr/bin/cat").expect("there").len()
    );
    assert_eq!(before.uid, 0);
    let by_path = TargetRoot::of_process(pid)
        .expect("pins")
        .open(Path::new("/tmp/cat"), LastLink::Refuse)
        .expect("the new file");
    assert_ne!(by_path.identity().expect("identity").inode, before.inode);
    assert_eq!(text(Ok(by_path)).expect("reads"), "another");

    // An event's range may be longer than what is left of the mapping.
    let longer = avma.start..avma.end + 0x1000;
    let held = HeldFile::mapped(pid, longer).expect("the mapping that is there now");
    assert_eq!(held.identity().expect("identity"), before);
    assert!(matches!(
        HeldFile::mapped(pid, 0..4096),
        Err(FileError::NotFound { .. })
    ));
}

#[test]
fn a_process_that_exited_but_is_not_reaped_is_gone() {
    let mut child = std::process::Command::new("true").spawn().expect("spawns");
    let pid = HostPid(child.id());
    wait_until("the child is a zombie", || {
        fs::read_to_string(format!("/proc/{}/stat", pid.0)).is_ok_and(|stat| stat.contains(") Z "))
    });
    assert!(matches!(
        TargetRoot::of_process(pid),
        Err(FileError::Gone { .. })
    ));
    if nix::unistd::geteuid().is_root() {
        assert!(matches!(
            HeldFile::mapped(pid, 0..4096),
            Err(FileError::Gone { .. })
        ));
    }
    child.wait().expect("reaps");
}

#[test]
fn a_fuse_mount_that_never_answers_is_given_up_at_the_deadline() {
    const CLAIM: &str = "a_fuse_mount_that_never_answers_is_given_up_at_the_deadline";
    if !is_root_or_skips(CLAIM) {
        return;
    }
    let kernel_has_fuse = fs::read_to_string("/proc/filesystems")
        .is_ok_and(|known| known.lines().any(|line| line.ends_with("\tfuse")));
    if !kernel_has_fuse || !Path::new("/dev/fuse").exists() {
        return skip(CLAIM, "fuse");
    }
    // The server is this shell: it opens the connection and never reads a request.
    let container = Sandbox::start(&format!(
        "exec 9<>/dev/fuse
        mount -t tmpfs tmpfs /mnt
        mkdir /mnt/fuse
        mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 none /mnt/fuse
        {ECHO}"
    ));
    let pin = Arc::new(TargetRoot::of_process(container.pid()).expect("pins, it does not block"));
    let kept = Arc::downgrade(&pin);
    let opened = within(Duration::from_millis(200), "open /mnt/fuse/lib.so", {
        move || {
            pin.open(Path::new("/mnt/fuse/lib.so"), LastLink::Refuse)
                .map(drop)
        }
    });
    assert!(
        matches!(opened, Err(FileError::TimedOut { .. })),
        "{opened:?}"
    );
    assert!(kept.upgrade().is_some(), "the job was to be waiting still");
    // The kernel ends the wait when the server is gone.
    container.end();
    wait_until("the thread left behind ends", || kept.upgrade().is_none());
}
