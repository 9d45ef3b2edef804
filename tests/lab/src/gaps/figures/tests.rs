use super::super::recorder::{Endpoint, History, PodFact};
use super::super::scenario::Scenario;
use super::*;

/// A round in which `a` leads and is lost, told after 10 ms; `b` leads at 14 ms, by the slice.
struct Story {
    begun: Instant,
    attempts: Vec<Attempt>,
    slices: Vec<Revision>,
}

/// When the fault comes, since the story began.
const FAULT_MS: i64 = 1_000;

impl Story {
    fn new() -> Self {
        let story = Self { begun: Instant::now(), attempts: Vec::new(), slices: Vec::new() };
        story.led(-100, &["a"]).led(14, &["b"])
    }

    /// So many milliseconds after the fault.
    fn time(&self, ms: i64) -> Instant {
        self.begun + Duration::from_millis((FAULT_MS + ms).unsigned_abs())
    }

    fn led(mut self, ms: i64, ready: &[&str]) -> Self {
        let endpoint = |uid: &&str| Endpoint { uid: (*uid).into(), ready: true, serving: true };
        self.slices.push(Revision {
            at: self.time(ms),
            service: "web-leader".into(),
            endpoints: ready.iter().map(endpoint).collect(),
            term: ready.first().map(|uid| (ready.join("+"), (*uid).into())),
        });
        self
    }

    fn asked(mut self, ms: i64, took: i64, answer: Result<&str, Failure>) -> Self {
        let answer = answer.map(str::to_owned);
        self.attempts.push(Attempt { sent: self.time(ms), done: self.time(ms + took), answer });
        self
    }

    fn figures(self) -> Figures {
        let lost = PodFact { at: self.time(10), uid: "a".into(), is: PodState::Unready };
        Figures::of(&Round {
            scenario: Scenario::Kill,
            at: self.time(0),
            told: false,
            leader: "a".into(),
            service: "web-leader".into(),
            attempts: [self.attempts, Vec::new(), Vec::new()],
            history: History { pods: vec![lost], slices: self.slices },
        })
    }
}

#[track_caller]
fn about(value: Option<f64>, expected: f64) {
    let value = value.unwrap();
    assert!((value - expected).abs() < 0.001, "{value} is not {expected}");
}

#[test]
fn a_loss_is_split_into_detection_controller_and_propagation() {
    let figures = Story::new()
        .asked(-3, 1, Ok("a"))
        .asked(0, 1, Err(Failure::Closed))
        .asked(30, 1, Err(Failure::Refused))
        .asked(60, 1, Ok("b"))
        .figures();
    about(figures.detection, 10.0);
    about(figures.controller, 4.0);
    about(figures.propagation, 16.0);
    about(figures.reaction, 20.0);
    about(figures.gap, 63.0);
    about(figures.failing, 30.0);
    assert_eq!((figures.connections, figures.failed, figures.moves), (3, 2, 1));
    assert_eq!(figures.failures, [(Failure::Refused, 1), (Failure::Closed, 1)].into());
}

#[test]
fn an_answer_of_who_led_before_is_late_unless_it_was_under_way() {
    let figures = Story::new().asked(13, 5, Ok("a")).asked(16, 1, Ok("a")).asked(20, 1, Ok("b")).figures();
    assert_eq!((figures.late, figures.failed), (1, 0));
    about(figures.propagation, 2.0);
}

#[test]
fn an_answer_of_who_leads_next_is_good_however_early_and_that_of_who_never_leads_is_not() {
    let figures = Story::new().asked(2, 1, Ok("b")).asked(20, 1, Ok("c")).asked(30, 1, Ok("b")).figures();
    assert_eq!((figures.late, figures.foreign), (0, 1));
    about(figures.propagation, 6.0);
}

#[test]
fn two_that_are_ready_at_once_and_two_of_one_term_are_counted() {
    let mut story = Story::new().led(20, &["b", "a"]);
    story.slices[2].term = Some(("b".into(), "a".into()));
    let figures = story.figures();
    assert_eq!((figures.two_ready, figures.forks), (1, 1));
    let figures = Story::new().figures();
    assert_eq!((figures.two_ready, figures.forks), (0, 0));
}

#[test]
fn without_a_failure_there_is_no_failing_and_nothing_is_left_to_propagate() {
    let figures = Story::new().asked(0, 1, Ok("a")).asked(20, 1, Ok("b")).figures();
    assert_eq!((figures.failing, figures.failed), (None, 0));
    about(figures.propagation, 0.0);
    about(figures.gap, 20.0);
}

#[test]
fn who_led_in_an_earlier_round_is_not_to_answer_in_this_one() {
    let mut story = Story::new();
    let mut earlier = story.slices[0].clone();
    earlier.at = story.time(-200);
    earlier.endpoints[0].uid = "c".into();
    story.slices.insert(0, earlier);
    let figures = story.asked(-3, 1, Ok("a")).asked(20, 1, Ok("c")).asked(30, 1, Ok("b")).figures();
    assert_eq!((figures.late, figures.foreign), (0, 1));
}

#[test]
fn when_nobody_is_left_to_lead_there_is_no_move_to_judge() {
    let mut story = Story::new();
    story.slices[1].endpoints.clear();
    let figures = story.asked(0, 1, Ok("a")).asked(20, 1, Err(Failure::Refused)).figures();
    about(figures.detection, 10.0);
    assert_eq!((figures.controller, figures.propagation, figures.reaction), (None, None, None));
    assert_eq!(figures.failed, 1);
}

#[test]
fn a_slice_that_another_one_precedes_within_a_second_is_behind() {
    let behind = |ms| {
        let mut story = Story::new();
        let other = Revision { at: story.time(ms), service: "web".into(), ..story.slices[0].clone() };
        story.slices.push(other);
        story.figures().behind
    };
    assert!(behind(12));
    assert!(!behind(16) && !behind(-990));
}
