//! Server-sent events out of a stream of bytes, by the rules of the HTML standard as far as a program needs them:
//! `id`, `event`, `data`, comments. Pure; whoever reads the connection feeds it.

/// Longest line and longest message, in bytes: a job with all its steps has a few thousand.
const SIZE_MAX: usize = 4 << 20;

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Its `id`, when it has one: where a later connection goes on.
    pub id: Option<String>,
    /// Its `event`.
    pub event: String,
    /// Its `data`; several lines are joined by newlines.
    pub data: String,
}

/// A stream that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event stream holds a message of more than {SIZE_MAX} bytes")]
pub struct TooLong;

/// Takes bytes in and gives messages out.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    /// The byte before was a carriage return, so that a line feed now ends no second line.
    returned: bool,
    message: Message,
    has_data: bool,
}

impl Reader {
    /// The messages that these bytes complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut complete = Vec::new();
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.returned, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => complete.extend(self.end_line()),
                _ => {
                    self.line.push(byte);
                    if self.line.len() + self.message.data.len() > SIZE_MAX {
                        return Err(TooLong);
                    }
                }
            }
        }
        Ok(complete)
    }

    fn end_line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.message.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                if self.has_data {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
                self.has_data = true;
            }
            // A comment (no name), or a field that we do not use.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Vec<(Option<String>, String, String)> {
        let mut reader = Reader::default();
        let mut found = Vec::new();
        for piece in pieces {
            for message in reader.feed(piece).unwrap() {
                found.push((message.id, message.event, message.data));
            }
        }
        found
    }

    #[test]
    fn messages_are_read_whatever_ends_their_lines() {
        let wanted = vec![
            (Some("7".to_owned()), "event".to_owned(), "{}".to_owned()),
            (None, String::new(), "a\nb".to_owned()),
        ];
        let text = ":hello\nid: 7\nevent: event\ndata: {}\n\ndata:a\ndata: b\n\n:\n\nid: 9\ndata: cut";
        for end in ["\n", "\r", "\r\n"] {
            assert_eq!(read(&[text.replace('\n', end).as_bytes()]), wanted, "{end:?}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut reader = Reader::default();
        assert!(reader.feed(&vec![b'x'; SIZE_MAX]).is_ok());
        assert_eq!(reader.feed(b"x"), Err(TooLong));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_arrive(text in "(id: 1|event: x|data: y|data|:|é|\r|\n|\r\n){0,30}", at in 0usize..60) {
            let bytes = text.as_bytes();
            let at = at.min(bytes.len());
            prop_assert_eq!(read(&[bytes]), read(&[&bytes[..at], &bytes[at..]]));
        }
    }
}
