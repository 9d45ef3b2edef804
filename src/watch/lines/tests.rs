//! What the buffer keeps, and what is refused.

use super::*;

fn lines(body: Vec<u8>) -> Lines {
    Lines::new(Body::from(body))
}

async fn refused(body: Vec<u8>) -> String {
    let Err(Trouble::Failed { reason, .. }) = lines(body).next().await else { panic!("it is a line") };
    reason
}

#[tokio::test]
async fn a_stream_that_ends_within_a_line_says_so() {
    assert!(refused(b"{\"type\"".to_vec()).await.contains("in the middle of a line"));
    assert!(matches!(lines(b"a\n \n".to_vec()).next().await, Ok(Some(b"a"))));
    assert!(matches!(lines(b"  ".to_vec()).next().await, Ok(None)));
}

#[tokio::test]
async fn a_line_without_an_end_does_not_eat_the_memory() {
    assert!(refused(vec![b'x'; LONGEST_LINE + 1]).await.contains("longer than 32 MB"));
    assert!(refused(vec![b'x'; LONGEST_LINE]).await.contains("in the middle"));
}

#[tokio::test]
async fn a_buffer_above_what_is_kept_is_given_back() {
    for (length, is_kept) in [(1_000, true), (KEPT_CAPACITY - 1, true), (KEPT_CAPACITY, false)] {
        let mut line = vec![b'x'; length];
        line.push(b'\n');
        let mut lines = lines(line);
        assert!(matches!(lines.next().await, Ok(Some(line)) if line.len() == length));
        assert!(matches!(lines.next().await, Ok(None)));
        assert_eq!(lines.buffer.capacity() > 0, is_kept, "{length}");
    }
}
