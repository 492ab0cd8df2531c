//! debuginfod: debug files by build id, from the servers that `DEBUGINFOD_URLS` names, in the cache that elfutils'
//! client keeps (debuginfod_find_debuginfo(3)), so that either finds what the other fetched.

mod download;
#[cfg(test)]
mod tests;

use download::{Client, Got};
use profiler::BuildId;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// `DEBUGINFOD_TIMEOUT` where it is not set. elfutils gives a server so long for 100 KiB; here it is for all files of a
/// recording together, since a picture waits for them.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Largest file that is fetched, unless `DEBUGINFOD_MAXSIZE` says otherwise.
const BYTES_MAX: u64 = 4 << 30;
/// Files that are fetched at once.
const AT_ONCE: usize = 8;
/// An empty file in the cache says that no server had it; for so long, unless `cache_miss_s` in the cache says
/// otherwise (elfutils' default).
const MISS: Duration = Duration::from_secs(600);
const MISS_FILE: &str = "cache_miss_s";

/// Where debug files are fetched from and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Debuginfod {
    /// Without a slash at the end.
    servers: Vec<String>,
    cache: PathBuf,
    timeout: Duration,
    bytes_max: u64,
}

/// What became of asking.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// In the cache now.
    pub(crate) here: Vec<BuildId>,
    /// Asked for in vain because of this, one reason for all.
    pub(crate) failed: Option<String>,
}

impl Debuginfod {
    /// What the environment says; `None` where it names no server.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let text = |name| variable(name)?.into_string().ok();
        let urls = text("DEBUGINFOD_URLS")?;
        // Between them stand tags (`ima:enforcing`), which say how files are to be signed.
        let is_server = |word: &&str| word.starts_with("http://") || word.starts_with("https://");
        let servers = urls.split_whitespace().filter(is_server);
        let servers: Vec<String> = servers
            .map(|server| server.trim_end_matches('/').to_owned())
            .collect();
        let path = |name| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = path("HOME");
        let older = home
            .as_ref()
            .map(|home| home.join(".debuginfod_client_cache"));
        let cache = path("DEBUGINFOD_CACHE_PATH")
            .or_else(|| older.filter(|older| older.is_dir()))
            .or_else(|| Some(path("XDG_CACHE_HOME")?.join("debuginfod_client")))
            .or_else(|| Some(home?.join(".cache/debuginfod_client")))?;
        let number = |name| text(name)?.trim().parse::<u64>().ok().filter(|it| *it > 0);
        (!servers.is_empty()).then_some(Self {
            servers,
            cache,
            timeout: number("DEBUGINFOD_TIMEOUT").map_or(TIMEOUT, Duration::from_secs),
            bytes_max: number("DEBUGINFOD_MAXSIZE").unwrap_or(BYTES_MAX),
        })
    }

    /// Makes the cache's directory where there is none yet; where it is.
    pub(crate) fn cache(&self) -> std::io::Result<&Path> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.cache)?;
        Ok(&self.cache)
    }

    /// Puts these debug files into the cache, as far as servers have them and the time allows.
    pub(crate) fn fetch(&self, ids: &[BuildId]) -> Fetched {
        let end = Instant::now() + self.timeout;
        let client = Client::new();
        let next = AtomicUsize::new(0);
        let fetched = Mutex::new(Fetched::default());
        let work = || {
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                let got = self.fetch_one(&client, id, end);
                let Ok(mut fetched) = fetched.lock() else {
                    return;
                };
                match got {
                    Ok(Got::File) => fetched.here.push(*id),
                    Ok(Got::Nothing) => {}
                    Err(reason) => fetched.failed = fetched.failed.take().or(Some(reason)),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(ids.len()) {
                let named = std::thread::Builder::new().name("debuginfod".into());
                // With fewer threads it takes longer; with none nothing is fetched.
                let _ = named.spawn_scoped(scope, work);
            }
        });
        let mut fetched = fetched.into_inner().unwrap_or_default();
        fetched.here.sort_unstable_by_key(|id| id.to_string());
        fetched
    }

    fn fetch_one(&self, client: &Client, id: &BuildId, end: Instant) -> Result<Got, String> {
        let dir = self.cache.join(id.to_string());
        let file = dir.join("debuginfo");
        match fs::metadata(&file) {
            Ok(kept) if kept.len() > 0 => return Ok(Got::File),
            Ok(kept) if self.is_fresh(kept.modified().ok()) => return Ok(Got::Nothing),
            _ => {}
        }
        let mut failed = None;
        for server in &self.servers {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let limit = self.timeout.as_secs();
                return Err(format!("not all within {limit} s (DEBUGINFOD_TIMEOUT)"));
            }
            let url = format!("{server}/buildid/{id}/debuginfo");
            let fetched = in_cache(&dir, &file, |partial| {
                client.download(&url, partial, left, self.bytes_max)
            });
            match fetched {
                Ok(Got::File) => return Ok(Got::File),
                Ok(Got::Nothing) => {}
                Err(error) => failed = Some(format!("{server}: {error}")),
            }
        }
        match failed {
            Some(failed) => Err(failed),
            // All of them know that they do not have it: remembered. Without a place for that, they are asked again.
            None => {
                let _ = fs::remove_file(&file);
                let mut empty = OpenOptions::new();
                let _ = fs::create_dir_all(&dir);
                let _ = empty.write(true).create_new(true).mode(0o600).open(&file);
                Ok(Got::Nothing)
            }
        }
    }

    fn is_fresh(&self, missed: Option<SystemTime>) -> bool {
        let said = fs::read_to_string(self.cache.join(MISS_FILE)).ok();
        let said = said.and_then(|text| text.trim().parse().ok());
        let limit = said.map_or(MISS, Duration::from_secs);
        missed.is_some_and(|at| at.elapsed().unwrap_or_default() <= limit)
    }
}

/// Fills a file beside its place, and puts it there when it is whole.
fn in_cache(
    dir: &Path,
    file: &Path,
    fill: impl FnOnce(&mut fs::File) -> Result<Got, String>,
) -> Result<Got, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(dir);
    made.map_err(failed)?;
    let partial = tempfile::Builder::new()
        .prefix("debuginfo.")
        .tempfile_in(dir);
    let mut partial = partial.map_err(failed)?;
    let got = fill(partial.as_file_mut())?;
    if got == Got::File {
        partial.persist(file).map_err(|error| failed(error.error))?;
    }
    Ok(got)
}
