//! Where one event ends and the next begins in a stream of server-sent events. Pure, and it keeps nothing of what it reads:
//! no line is too long for it, and no event too big.
//!
//! ```text
//!   id: 7          ┐
//!   data: {"Id":…  │ an event: one sign, at its blank line
//!   data: …}       ┘
//!   (blank)
//!   : still here     a comment, which only keeps the connection alive: no sign
//! ```

/// An event that does not end within so many bytes is a sign all the same, and another one after as many again.
const UNENDED: u32 = 64 << 10;

/// See the module.
#[derive(Debug, Default, Clone)]
pub struct Scanner {
    line: Line,
    /// The last byte was a CR, whose LF may follow.
    after_cr: bool,
    /// Bytes of the event that has begun; 0 when none has.
    event: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Nothing of it yet.
    #[default]
    Start,
    Comment,
    /// A field, known or not.
    Field,
}

impl Scanner {
    /// Reads on. How many signs came to their end in these bytes, wherever the stream was cut.
    pub fn feed(&mut self, bytes: &[u8]) -> u64 {
        bytes.iter().map(|byte| u64::from(self.step(*byte))).sum()
    }

    fn step(&mut self, byte: u8) -> bool {
        let ends_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            b'\n' if ends_cr => false,
            b'\n' | b'\r' => {
                let blank = std::mem::take(&mut self.line) == Line::Start;
                blank && std::mem::take(&mut self.event) > 0
            }
            b':' if self.line == Line::Start => {
                self.line = Line::Comment;
                false
            }
            _ if self.line == Line::Comment => false,
            _ => {
                self.line = Line::Field;
                // Counted from 1 on, so that an event that was told of unended is still one that has begun.
                self.event = if self.event == UNENDED { 1 } else { self.event + 1 };
                self.event == UNENDED
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signs(text: &str) -> u64 {
        Scanner::default().feed(text.as_bytes())
    }

    #[test]
    fn an_event_is_a_sign_whatever_it_says_and_a_comment_is_none() {
        for (text, wanted) in [
            ("", 0),
            (": stream opened\n\n", 0),
            (":\r\n\r\n:\r\r", 0),
            ("\n\n\n", 0),
            ("id: 1\ndata: {}\n\n", 1),
            ("id: 1\r\ndata: {\r\ndata: }\r\n\r\n", 1),
            ("id: 1\rdata: {}\r\r", 1),
            ("data: 1\n\ndata: 2\n\n", 2),
            ("data: 1\n: still here\n\n", 1),
            ("data: {\"PowerState\": \"On\"", 0),
            ("data: unended\n", 0),
            ("data\n\n", 1),
            ("<html>no stream</html>\n\n", 1),
            ("data: a: b\n: c\n\n: d\n\n", 1),
            ("\u{feff}data: 1\n\n", 1),
        ] {
            assert_eq!(signs(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn an_event_without_end_is_a_sign_now_and_then() {
        let mut scanner = Scanner::default();
        let piece = vec![b'x'; UNENDED as usize];
        assert_eq!((0..4).map(|_| scanner.feed(&piece)).sum::<u64>(), 4);
        assert_eq!(scanner.feed(b"\n\n"), 1);
        let mut comment = Scanner::default();
        assert_eq!(comment.feed(b":") + comment.feed(&piece) + comment.feed(&piece), 0);
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_changes_nothing(
            bytes in prop::collection::vec(prop::sample::select(b":\r\nda {".to_vec()), 0..200),
            cuts in prop::collection::vec(0usize..200, 0..20),
        ) {
            let whole = Scanner::default().feed(&bytes);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let (mut scanner, mut pieces, mut from) = (Scanner::default(), 0, 0);
            for cut in cuts.into_iter().chain([bytes.len()]) {
                pieces += scanner.feed(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(pieces, whole);
            prop_assert!(whole <= bytes.len() as u64 / 2, "an event is at least a byte and a blank line");
        }
    }
}
