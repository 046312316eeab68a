//! What each byte of a body is to the scanner: two tables of 256 entries, and the counts that one
//! addition per byte keeps of a word.

/// How the scanner goes on at a byte that stands outside a word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Separates tokens and leaves no trace but "a blank was here".
    Blank,
    /// Ends the first line.
    Line,
    /// Begins or goes on with a word.
    Word,
    /// Belongs to a word when a word byte follows.
    Dot,
    /// A token of its own.
    Delimiter,
}

/// Counts of a word, packed: digits, small letters, capitals, marks, at signs, 13 bits each from the
/// lowest (the last has 12). A scan reads at most [`BYTES_MAX`] bytes, so none flows over.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts(u64);

/// Bytes of a line that are read; the rest is one variable.
pub(super) const BYTES_MAX: usize = 4096;

const DIGIT: u64 = 1;
const SMALL: u64 = 1 << 13;
const CAPITAL: u64 = 1 << 26;
const MARK: u64 = 1 << 39;
const AT_SIGN: u64 = 1 << 52;
const COUNT_MASK: u64 = (1 << 13) - 1;

impl Counts {
    /// Adds a byte; `false`, and nothing added, when it cannot stand in a word.
    #[inline(always)]
    pub(super) fn add(&mut self, byte: u8) -> bool {
        let weight = WEIGHTS[byte as usize];
        self.0 = self.0.wrapping_add(weight);
        weight != 0
    }

    #[inline(always)]
    pub(super) fn add_mark(&mut self) {
        self.0 = self.0.wrapping_add(MARK);
    }

    #[inline(always)]
    pub(super) fn has_digits(self) -> bool {
        self.0 & COUNT_MASK != 0
    }

    #[inline(always)]
    pub(super) fn has_letters(self) -> bool {
        self.0 & ((COUNT_MASK << 13) | (COUNT_MASK << 26)) != 0
    }

    #[inline(always)]
    pub(super) fn has_marks(self) -> bool {
        self.0 & (COUNT_MASK << 39) != 0
    }

    #[inline(always)]
    pub(super) fn has_at_signs(self) -> bool {
        self.0 >> 52 != 0
    }
}

/// What a byte is outside a word.
#[inline(always)]
pub(super) fn class(byte: u8) -> Class {
    CLASSES[byte as usize]
}

/// Whether a byte can stand in a word whatever its neighbours.
#[inline(always)]
pub(super) fn is_word(byte: u8) -> bool {
    WEIGHTS[byte as usize] != 0
}

/// Letters are ASCII letters and every byte of a longer UTF-8 sequence.
pub(super) fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 128
}

static CLASSES: [Class; 256] = classes();
static WEIGHTS: [u64; 256] = weights();

const fn classes() -> [Class; 256] {
    let mut table = [Class::Word; 256];
    let mut byte = 0;
    while byte <= b' ' as usize {
        table[byte] = Class::Blank;
        byte += 1;
    }
    table[127] = Class::Blank;
    table[b'\n' as usize] = Class::Line;
    table[b'.' as usize] = Class::Dot;
    let delimiters = b"=,;:()[]{}<>|\"'`";
    let mut index = 0;
    while index < delimiters.len() {
        table[delimiters[index] as usize] = Class::Delimiter;
        index += 1;
    }
    table
}

const fn weights() -> [u64; 256] {
    let classes = classes();
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT,
            b'A'..=b'Z' => CAPITAL,
            b'a'..=b'z' | 128..=255 => SMALL,
            b'@' => MARK | AT_SIGN,
            _ => match classes[byte] {
                Class::Word => MARK,
                _ => 0,
            },
        };
        byte += 1;
    }
    table
}
