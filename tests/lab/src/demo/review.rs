//! After the scenes: the table, and what held over the whole of the show.

use anyhow::Result;

use super::figures::is_write;
use super::screen::Tone;
use super::show::{LEADER_SERVICE, SOON, Show};
use crate::audit::{Audit, Entry};

/// The table, and what held over the whole of it.
pub(super) async fn sum_up(show: &mut Show<'_>, audit: Option<Audit>, user: &str) -> Result<()> {
    let requests = match audit {
        None => None,
        Some(audit) => Some(requests(&audit, user).await?),
    };
    show.screen
        .scene("Measured", "from the trigger to what came of it, as seen on a bare watch of the API server");
    let Show { figures, screen, .. } = &mut *show;
    figures.print(screen, requests.as_deref());
    show.screen.line("");
    let history = show.check_history();
    show.screen.text(2, Tone::Plain, &history);
    if let Some(requests) = &requests {
        check_requests(show, requests);
    }
    let (checks, failed) = (show.checks, show.not_held.len());
    show.screen.text(2, Tone::Plain, &format!("{checks} checks, {failed} did not hold"));
    Ok(())
}

/// The controller's requests, once the log has those of the last step.
async fn requests(audit: &Audit, user: &str) -> Result<Vec<Entry>> {
    let removed = |entry: &Entry| entry.verb == "delete" && entry.name == LEADER_SERVICE;
    // If the show broke off there was no opting out, and what there is has to do.
    let _ = audit.until(SOON / 5, |all| all.iter().filter(|entry| removed(entry)).count() >= 2).await;
    audit.by(user)
}

/// What the controller asked for: nothing it has no right to, nothing that is not its business, and few writes.
fn check_requests(show: &mut Show<'_>, requests: &[Entry]) {
    let denied: Vec<&Entry> = requests.iter().filter(|entry| entry.code == 403).collect();
    show.check(denied.is_empty(), || format!("the API server denied the controller: {denied:?}"));
    let writes: Vec<&Entry> = requests.iter().filter(|entry| is_write(entry)).collect();
    // A creation has no name in the log; Services are created by nobody else here.
    let is_its_own = |entry: &&&Entry| match entry.resource.as_str() {
        "endpointslices" | "services" => entry.name == LEADER_SERVICE || entry.verb == "create",
        "events" => true,
        _ => false,
    };
    let others: Vec<&&Entry> = writes.iter().filter(|entry| !is_its_own(entry)).collect();
    show.check(others.is_empty(), || format!("the controller wrote what is not its own: {others:?}"));
    let per_figure: Vec<_> = show.figures.writes(requests).collect();
    for (kind, writes) in per_figure.into_iter().filter(|(kind, _)| kind.is_failover()) {
        let few = writes.critical == 1 && writes.slices == 1 && writes.all <= 3;
        show.check(few, || {
            format!(
                "a failover ({kind:?}) took {writes:?}; it may take 3 in all, the slice's first and only once"
            )
        });
    }
    let line = format!(
        "{} writes by the controller, none to a pod or a Service of the user's; {} requests, none denied",
        writes.len(),
        requests.len()
    );
    if denied.is_empty() && others.is_empty() {
        show.screen.text(2, Tone::Plain, &line);
    }
}
