//! The page, as a browser shows it.

use std::path::PathBuf;

use lab::{Chromium, Directory};
use machine::{Micros, Policy};
use zen_lead::replay::{self, Task};

use crate::corpus::logs;
use crate::stories;
use crate::story::Story;

/// What a browser makes of the page of this story, with a script at its end that looks at it.
async fn seen(story: Story, chromium: Chromium, script: &str) -> String {
    let directory = Directory::create().unwrap();
    let file = directory.path().join("log.jsonl");
    std::fs::write(&file, story.log()).unwrap();
    seen_of(vec![file], chromium, script).await
}

/// The same for these logs.
async fn seen_of(files: Vec<PathBuf>, chromium: Chromium, script: &str) -> String {
    let directory = Directory::create().unwrap();
    let page = directory.path().join("page.html");
    let task = Task {
        files,
        overrides: Vec::new(),
        html: Some(page.clone()),
        quiet: true,
        budget: Micros::from_secs(5),
    };
    assert!(!replay::replay(&task, &mut Vec::new()).unwrap());
    let html = std::fs::read_to_string(&page).unwrap();
    for elsewhere in ["http:", "https:", "src=", "url(", "<script", "@import"] {
        assert!(!html.contains(elsewhere), "the page needs nothing from elsewhere: {elsewhere}");
    }
    std::fs::write(
        &page,
        html.replace("</body>", &format!("<pre id=seen></pre><script>{script}</script></body>")),
    )
    .unwrap();
    let dom = chromium.dom(&format!("file://{}", page.display()), (1_200, 900)).await.unwrap();
    let seen = dom.split_once("<pre id=\"seen\">").unwrap().1.split_once("</pre>").unwrap().0;
    seen.to_owned()
}

fn tell(what: &str) -> String {
    format!("document.getElementById('seen').textContent = {what}")
}

#[tokio::test]
async fn each_failover_is_a_bar_against_the_budget() {
    let script = tell(
        "[...document.querySelectorAll('.failovers .track')].map(track => {
            const width = part => part.getBoundingClientRect().width / track.getBoundingClientRect().width;
            const limit = track.querySelector('.limit').getBoundingClientRect();
            const at = (limit.left - track.getBoundingClientRect().left) / track.getBoundingClientRect().width;
            return [...track.querySelectorAll('i')].map(i => i.className + ' ' + width(i).toFixed(2)).join(', ') + ', budget at ' + at.toFixed(2)
        }).join('; ')",
    );
    let seen = seen(stories::flapping(), Chromium::find().unwrap(), &script).await;
    // Tolerated for 2 s; then for 5 s, and the write.
    assert_eq!(seen, "draining 0.39, budget at 0.98; draining 0.98, reelecting 0.00, budget at 0.98");
}

#[tokio::test]
async fn phases_and_steps_have_their_cause_under_the_pointer() {
    let script = tell(
        "[...document.querySelectorAll('svg rect title')].map(title => title.textContent).join('\\n') + '\\n' +
         [...document.querySelectorAll('.steps tr')].map(row => row.title).join('\\n')",
    );
    let seen = seen(stories::total_outage(), Chromium::find().unwrap(), &script).await;
    for expected in [
        "Leaderless for 30.00 s, unready: the leader was not Ready; from 2026-03-02 09:00:00.500000",
        "Reelecting orders-6c9f8d7b5-m4q9t for 1.8 ms, recovery: nobody led for a while",
        "\nthe leader was not Ready\n",
        "\nnothing changes\n",
    ] {
        assert!(seen.contains(expected), "{expected} in {seen}");
    }
}

/// Two logs of the real control plane, on one page: an outage with its recovery, and an election of two runs.
#[tokio::test]
async fn real_logs_are_shown_with_their_notes_failovers_and_phases() {
    let script = tell(
        "[...document.querySelectorAll('h2 + p')].map(note => note.textContent).join('\\n') + '\\n' +
         [...document.querySelectorAll('svg rect title')].map(title => title.textContent).join('\\n') + '\\n' +
         document.querySelectorAll('.failovers .track').length + ' failovers, ' +
         document.querySelectorAll('.steps tr').length + ' steps'",
    );
    let files = ["draining-alone", "restart"].map(|name| logs().join(format!("real-{name}.jsonl")));
    let told = seen_of(files.to_vec(), Chromium::find().unwrap(), &script).await;
    let expected = [
        "drains, and is gone before there is another one",
        "Two runs, one after the other.",
        "Draining orders-0 for ",
        "Leaderless for ",
        "Reelecting orders-1 for ",
        "recovery: nobody led for a while",
        "unready: the leader was not Ready",
    ];
    for words in expected {
        assert!(told.contains(words), "{words} in {told}");
    }
    let (_, counts) = told.rsplit_once('\n').unwrap();
    assert!(counts.starts_with("1 failovers, "), "from the loss to the recovery: {counts}");
}

/// Text is told from its ground by 4.5 to 1 at least, as WCAG asks for, in light and in dark.
#[tokio::test]
async fn the_page_can_be_read_in_light_and_dark() {
    let script = tell(
        "(() => {
            const light = colour => {
                const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map(c => (c /= 255, c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const ground = light(getComputedStyle(document.body).backgroundColor);
            const contrast = element => {
                const text = light(getComputedStyle(element).color);
                return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
            };
            const least = Math.min(...[...document.querySelectorAll('body, p, h2, td, th, summary')].map(contrast));
            return (ground > 0.5 ? 'light' : 'dark') + ' ' + least;
        })()",
    );
    for (chromium, ground) in
        [(Chromium::find().unwrap(), "light"), (Chromium::find().unwrap().in_the_dark(), "dark")]
    {
        let seen = seen(stories::total_outage(), chromium, &script).await;
        let (found, contrast) = seen.split_once(' ').unwrap();
        assert_eq!(found, ground);
        assert!(contrast.parse::<f64>().unwrap() >= 4.5, "{seen}");
    }
}

#[tokio::test]
async fn words_of_others_are_no_markup() {
    let mut story = Story::new("shop/orders", "<b>bold</b> & <script>alert(1)</script>", Policy::default());
    story.begins([0, 1]);
    let script = tell("document.querySelectorAll('b').length + document.querySelector('h2 + p').textContent");
    let seen = seen(story, Chromium::find().unwrap(), &script).await;
    assert_eq!(seen, "0&lt;b&gt;bold&lt;/b&gt; &amp; &lt;script&gt;alert(1)&lt;/script&gt;");
}
