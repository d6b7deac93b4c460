//! How much of a Step's output is shown: its beginning, and its end where it fails. What lies between is counted, and a little of it kept
//! as long as it may be the end.

use std::collections::{HashSet, VecDeque};

use super::event::Stream;

/// Bytes of the beginning, as many as BuildKit shows.
const SHOWN: usize = 2 << 20;
/// A line counts as at least as much: what stands before it is written too.
const LINE: usize = 32;
/// Bytes of the end.
const KEPT: usize = 128 << 10;
/// Bytes in which the end is kept, and what such a piece takes besides.
const PIECE: usize = 8 << 10;
const OVERHEAD: usize = 64;

/// Of one Step, both streams together.
#[derive(Default)]
pub(super) struct Clip {
    counted: usize,
    left_out: u64,
    end: VecDeque<(Stream, Vec<u8>)>,
    /// Bytes of `end`, with their overhead.
    kept: usize,
    /// Streams whose end begins within a line.
    torn: HashSet<Stream>,
}

impl Clip {
    /// How many bytes of `text` are shown, the next of a line of which `begun` bytes came before.
    pub fn room(&mut self, text: &[u8], mut begun: usize) -> usize {
        let mut end = 0;
        for piece in text.split_inclusive(|&byte| byte == b'\n') {
            if self.is_full() {
                break;
            }
            begun += piece.len();
            end += piece.len();
            self.counted += piece.len();
            if piece.ends_with(b"\n") {
                self.counted += LINE.saturating_sub(begun);
                begun = 0;
            }
        }
        end
    }

    /// Whether nothing more is shown.
    pub fn is_full(&self) -> bool {
        self.counted >= SHOWN
    }

    /// Takes what is not shown, at least not yet.
    pub fn leave_out(&mut self, stream: Stream, text: &[u8]) {
        self.left_out += text.len() as u64;
        for part in text.chunks(PIECE) {
            match self.end.back_mut() {
                Some((last, piece)) if *last == stream && piece.len() + part.len() <= PIECE => piece.extend_from_slice(part),
                _ => {
                    self.end.push_back((stream, part.to_vec()));
                    self.kept += OVERHEAD;
                }
            }
            self.kept += part.len();
            while self.kept > KEPT
                && let Some((stream, piece)) = self.end.pop_front()
            {
                self.kept -= piece.len() + OVERHEAD;
                match piece.ends_with(b"\n") {
                    true => self.torn.remove(&stream),
                    false => self.torn.insert(stream),
                };
            }
        }
    }

    /// The bytes that are left out where nothing of the end is shown.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The end in the order in which it came, and how many bytes are left out before it. Each stream begins with a line: the rest of one
    /// may show a part of a secret that only its whole tells.
    pub fn end(mut self) -> (u64, Vec<(Stream, Vec<u8>)>) {
        let mut left_out = self.left_out;
        for (stream, piece) in &mut self.end {
            if self.torn.contains(stream) {
                let line = piece.iter().position(|&byte| byte == b'\n');
                piece.drain(..line.map_or(piece.len(), |at| at + 1));
                if line.is_some() {
                    self.torn.remove(stream);
                }
            }
            left_out -= piece.len() as u64;
        }
        (left_out, self.end.into())
    }
}

#[cfg(test)]
mod tests {
    use super::Stream::{Stderr, Stdout};
    use super::*;

    fn text(end: &[(Stream, Vec<u8>)], of: Stream) -> String {
        let pieces = end.iter().filter(|(stream, _)| *stream == of).flat_map(|(_, piece)| piece.clone());
        String::from_utf8(pieces.collect()).unwrap()
    }

    #[test]
    fn whole_lines_are_shown_as_long_as_there_is_room_and_short_ones_take_more_than_their_length() {
        for (line, shown) in [("x".repeat(1023) + "\n", 2048), ("y\n".to_owned(), 65_536), ("\n".to_owned(), 65_536)] {
            let mut clip = Clip::default();
            let text = line.repeat(2 * SHOWN / line.len());
            // In two chunks that a line is cut by.
            let (first, second) = text.as_bytes().split_at(100_001);
            let begun = first.iter().rev().take_while(|&&byte| byte != b'\n').count();
            assert_eq!(clip.room(first, 0) + clip.room(second, begun), shown * line.len(), "{line:?}");
            assert!(clip.is_full() && clip.room(b"more\n", 0) == 0);
        }
    }

    #[test]
    fn the_end_is_of_whole_lines_in_their_order_and_the_rest_is_counted() {
        let mut clip = Clip::default();
        let mut given = 0;
        for i in 0..100_000 {
            for (stream, name) in [(Stdout, "out"), (Stderr, "error")] {
                // Lines come in halves.
                for half in [format!("{name} "), format!("{i}\n")] {
                    clip.leave_out(stream, half.as_bytes());
                    given += half.len() as u64;
                }
            }
        }
        assert!(clip.end.iter().map(|(_, piece)| piece.capacity()).sum::<usize>() < 2 * KEPT && clip.left_out() == given);
        let (left_out, end) = clip.end();
        for (stream, name) in [(Stdout, "out"), (Stderr, "error")] {
            let lines: Vec<String> = text(&end, stream).lines().map(str::to_owned).collect();
            let first = 100_000 - lines.len();
            assert!(first < 100_000 - 100, "{lines:?}");
            assert_eq!(lines, (first..100_000).map(|i| format!("{name} {i}")).collect::<Vec<_>>());
        }
        assert_eq!(left_out + end.iter().map(|(_, piece)| piece.len() as u64).sum::<u64>(), given);
    }

    #[test]
    fn what_fits_into_the_end_is_all_of_it_and_of_a_line_without_a_beginning_nothing_is() {
        let mut clip = Clip::default();
        clip.leave_out(Stderr, b"why it fails\n");
        clip.leave_out(Stdout, b"no line feed");
        let (left_out, end) = clip.end();
        assert_eq!((left_out, text(&end, Stderr).as_str(), text(&end, Stdout).as_str()), (0, "why it fails\n", "no line feed"));
        let mut clip = Clip::default();
        clip.leave_out(Stdout, &[b'x'; 2 * KEPT]);
        clip.leave_out(Stderr, b"why it fails\n");
        let (left_out, end) = clip.end();
        assert_eq!((left_out, text(&end, Stderr).as_str(), text(&end, Stdout).as_str()), (2 * KEPT as u64, "why it fails\n", ""));
    }
}
