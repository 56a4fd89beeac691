//! Where the socket is, who may make it, and what is found there of workers that are gone.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::Instant;

use _native::host::control;
use serde_json::json;

use crate::{Client, PYTHON, Site, result, until, verb};

#[test]
fn a_socket_names_its_process_and_belongs_to_it_alone() {
    let site = Site::new();
    let path = control::state().path.expect("a socket");
    let metadata = fs::metadata(&path).expect("it is there");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let names = site.sockets();
    let [name] = names.as_slice() else {
        panic!("{names:?}");
    };
    let parts: Vec<&str> = name.trim_end_matches(".sock").split('-').collect();
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[0], std::process::id().to_string());
    assert!(parts[1].parse::<u64>().is_ok_and(|tick| tick > 0));
    assert_eq!(parts[2].len(), 8);
    assert_eq!(fs::read_dir(site.folder()).expect("a folder").count(), 1);
}

#[test]
fn starting_twice_is_starting_once() {
    let site = Site::new();
    let first = control::state();
    result(&site.ask(&verb("config")));
    let second = site.start();
    assert_eq!(first.path, second.path);
    assert!(second.answered > 0 && site.sockets().len() == 1);
    control::stop();
    let stopped = control::state();
    assert!(!stopped.serving && stopped.path.is_none() && stopped.reason.is_none());
    assert_eq!(site.sockets().len(), 0);
    control::stop();
    assert!(site.start().serving);
    assert_ne!(control::state().path, first.path);
    result(&site.ask(&verb("config")));
}

#[test]
fn another_place_is_moved_to() {
    let site = Site::new();
    let first = control::state().path.expect("a socket");
    let directory = site.directory.clone();
    let words = _native::host::place::DEFAULT_WORDS;
    let other = _native::host::place::Place::new(directory, "other".to_owned(), words);
    let state = control::start(&other.expect("a place"), &PYTHON);
    assert!(state.serving && state.path.as_ref() != Some(&first));
    assert_eq!(site.sockets().len(), 0);
    result(&site.ask(&verb("config")));
}

#[test]
fn stopping_ends_the_threads() {
    let site = Site::empty();
    let threads = || {
        let tasks = fs::read_dir("/proc/self/task").expect("Linux").flatten();
        let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("oxicache")).count()
    };
    for _ in 0..20 {
        site.start();
        result(&site.ask(&verb("health")));
        assert_eq!(threads(), 2);
        control::stop();
        assert_eq!(threads(), 0);
    }
}

#[test]
fn stopping_does_not_wait_for_python_for_ever() {
    let site = Site::new();
    let held = crate::Held::new();
    site.ask(&verb("health"));
    let begun = Instant::now();
    control::stop();
    let taken = begun.elapsed().as_secs_f64();
    assert!((0.9..5.0).contains(&taken), "{taken}");
    let reason = control::state().reason.expect("a reason");
    assert!(reason.contains("left behind"), "{reason}");
    drop(held);
}

#[test]
fn sockets_of_the_dead_are_removed_and_those_of_the_living_stay() {
    let site = Site::empty();
    site.start();
    control::stop();
    let folder = site.folder();
    drop(UnixListener::bind(folder.join("1-2-dead.sock")).expect("bound"));
    drop(UnixListener::bind(folder.join(".binding-1-dead")).expect("bound"));
    let living = UnixListener::bind(folder.join("1-3-live.sock")).expect("bound");
    fs::write(folder.join("notes.txt"), "").expect("written");
    site.start();
    result(&site.ask(&verb("config")));
    let mut names = site.sockets();
    names.sort();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"1-3-live.sock".to_owned()));
    assert!(!folder.join(".binding-1-dead").exists());
    assert!(folder.join("notes.txt").exists());
    drop(living);
}

#[test]
fn long_paths_are_no_obstacle() {
    let site = Site::empty();
    let directory = site.directory.join("a".repeat(120));
    fs::create_dir(&directory).expect("made");
    let words = _native::host::place::DEFAULT_WORDS;
    let place = _native::host::place::Place::new(directory.clone(), "shop".to_owned(), words);
    let state = control::start(&place.expect("a place"), &PYTHON);
    assert!(state.serving, "{state:?}");
    let path = state.path.expect("a socket");
    assert!(path.len() > 107);
    let folder = fs::File::open(std::path::Path::new(&path).parent().expect("a folder"));
    let folder = folder.expect("opened");
    let number = std::os::fd::AsRawFd::as_raw_fd(&folder);
    let name = path.rsplit('/').next().expect("a name");
    let mut client = Client::new(format!("/proc/self/fd/{number}/{name}").as_ref());
    result(&client.ask(&verb("config")));
    control::stop();
    assert!(!fs::exists(&path).expect("looked"));
}

#[test]
fn folders_that_others_could_write_are_refused() {
    let site = Site::empty();
    let folder = site.folder();
    let refused = |why: &str| {
        let state = site.start();
        assert!(!state.serving && state.path.is_none());
        let reason = state.reason.expect("a reason");
        assert!(
            reason.starts_with("no control socket: ") && reason.contains(why),
            "{reason}"
        );
    };
    fs::create_dir(&folder).expect("made");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("set");
    refused("has mode 0755");
    fs::remove_dir(&folder).expect("removed");
    let elsewhere = site.directory.join("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    symlink(&elsewhere, &folder).expect("linked");
    refused("links are not followed");
    fs::remove_file(&folder).expect("removed");
    fs::write(&folder, "").expect("written");
    refused("is not a folder");
    fs::remove_file(&folder).expect("removed");
    if rustix::process::geteuid().is_root() {
        fs::create_dir(&folder).expect("made");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("set");
        std::os::unix::fs::chown(&folder, Some(65_534), None).expect("given away");
        refused("belongs to user 65534");
        std::os::unix::fs::chown(&folder, Some(0), None).expect("taken back");
    }
    assert!(fs::read_dir(&elsewhere).expect("a folder").next().is_none());
}

#[test]
fn a_socket_that_somebody_removed_is_no_worker() {
    let site = Site::new();
    let path = control::state().path.expect("a socket");
    fs::remove_file(&path).expect("removed");
    // The next start finds out, as at each request: there is one socket again.
    until(|| site.start().serving && site.sockets().len() == 1);
    assert_eq!(
        result(&site.ask(&verb("config")))["pid"],
        json!(std::process::id())
    );
}
