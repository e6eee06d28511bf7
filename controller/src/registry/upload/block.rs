//! What has come of a body and is not in the file yet, in memory as the kernel wants it for writes past the page cache: it
//! begins at a page.

/// Where blocks begin, in memory and in files, in bytes. Disks ask for 512 or 4096.
pub(super) const PAGE: usize = 4096;
/// Bytes of a full block. With 2 MiB a push costs a quarter more processor time; 4 MiB are more memory than eight pushes at
/// once may take, with two blocks each.
pub(super) const BLOCK: usize = 3 << 20;

/// Bytes in a row, as many as it has room for. Takes memory when the first of them comes.
pub(super) struct Block {
    /// Never grows once it is there, so that it stays where it is.
    memory: Vec<u8>,
    /// Where the block begins in it: at a page.
    begin: usize,
    /// Most it takes.
    room: usize,
}

impl Block {
    /// An empty one with room for `room` bytes, at most [`BLOCK`].
    pub(super) fn new(room: usize) -> Self {
        Self { memory: Vec::new(), begin: 0, room: room.min(BLOCK) }
    }

    fn allocate(&mut self) {
        self.memory = Vec::with_capacity(self.room + PAGE);
        self.begin = self.memory.as_ptr().align_offset(PAGE).min(PAGE);
        self.memory.resize(self.begin, 0);
    }

    /// Takes in what fits; what is left.
    pub(super) fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.memory.capacity() == 0 {
            self.allocate();
        }
        let room = self.room.saturating_sub(self.bytes().len());
        let (taken, left) = bytes.split_at(room.min(bytes.len()));
        self.memory.extend_from_slice(taken);
        left
    }

    /// What it holds.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.begin..]
    }

    /// Whether it takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.bytes().len() >= self.room
    }

    /// The same memory, empty, for `room` bytes; new memory where it has not that much.
    pub(super) fn again(mut self, room: usize) -> Self {
        let room = room.min(BLOCK);
        if self.memory.capacity() < room + PAGE {
            return Self::new(room);
        }
        self.memory.truncate(self.begin);
        self.room = room;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_begins_at_a_page_and_takes_what_it_has_room_for() {
        let mut block = Block::new(4);
        assert!(block.bytes().is_empty());
        assert_eq!(block.fill(&[1; 3]), [0; 0]);
        assert_eq!(block.bytes().as_ptr().align_offset(PAGE), 0);
        assert!(!block.is_full());
        assert_eq!(block.fill(&[2; 3]), [2; 2]);
        assert!(block.is_full());
        assert_eq!(block.bytes(), [1, 1, 1, 2]);
        let mut block = block.again(BLOCK);
        assert_eq!(block.fill(&vec![3; BLOCK + 5]).len(), 5);
        let place = block.bytes().as_ptr();
        let block = block.again(BLOCK);
        assert_eq!((block.bytes().as_ptr(), block.bytes().len()), (place, 0));
        assert_eq!(place.align_offset(PAGE), 0);
    }
}
