//! Event logs, as anybody may hand them to `zen-lead replay`.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use machine::Micros;
use zen_lead::record::Reader;
use zen_lead::replay::{Override, Task, replay, update};

/// Replays `text` with everything that there is: a timeline, a page, another policy. What can be read is then rewritten as
/// the machine decides it, which must be the same when it is replayed, and when it is rewritten again.
///
/// # Panics
/// Something is wrong.
pub fn run(text: &[u8]) {
    let is_readable = with_files(text, |task| replay(task, &mut Vec::new()).is_ok());
    let Some(first) = rewritten(text) else {
        return assert!(!is_readable, "it was read before");
    };
    assert!(is_readable, "it was not read before");
    let mut words = Vec::new();
    let outcome = with_files(&first, |task| replay(task, &mut words));
    assert!(matches!(outcome, Ok(false)), "I14: {outcome:?}: {}", String::from_utf8_lossy(&words));
    assert!(rewritten(&first).as_ref() == Some(&first), "I14: {}", String::from_utf8_lossy(&first));
}

/// The log as the machine decides it; none if it cannot be read.
fn rewritten(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    update(&mut Reader::new("a log", text), &mut out).ok()?;
    Some(out)
}

thread_local! {
    /// Where a log and its page are, over and over.
    static FILES: RefCell<Option<Files>> = const { RefCell::new(None) };
}

struct Files {
    directory: PathBuf,
    task: Task,
}

impl Files {
    fn create() -> Self {
        let name = format!("zen-lead-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a directory");
        let overrides =
            ["failover-min-delay=2s", "failback=3s"].map(|text| text.parse::<Override>().expect("a setting"));
        let task = Task {
            files: vec![directory.join("log")],
            overrides: overrides.into(),
            html: Some(directory.join("page.html")),
            quiet: false,
            budget: Micros::from_secs(5),
        };
        Self { directory, task }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What is left is in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn with_files<T>(text: &[u8], look: impl FnOnce(&Task) -> T) -> T {
    FILES.with_borrow_mut(|files| {
        let Files { task, .. } = files.get_or_insert_with(Files::create);
        fs::write(&task.files[0], text).expect("a file");
        look(task)
    })
}
