//! Mutations that a seed decides: the same on every machine.

/// A generator of numbers (xorshift64*); good enough to choose mutations.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// The numbers of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        // The state must not be zero; neighbouring seeds shall not start alike.
        Self((seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`; 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or_default()
    }
}

/// What is put in: tokens that parsers trip over.
const TOKENS: [&[u8]; 32] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\\udc00",
    b"\xEF\xBB\xBF",
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\0",
    b"\xff",
    b"\xC3",
    b"data:",
    b"id: 1",
    b"uri",
    b"taskId",
    b"type",
    b"\"jsonrpc\":\"2.0\"",
    b"null",
    b"-0",
    b"1e999",
    b"mcp+",
    b"%2",
    b"__",
    b"{\"a\":",
];

/// The largest input that a mutation makes, in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// A mutation of `input`; `others` are what it may be crossed with.
#[must_use]
pub fn mutate(input: &[u8], others: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..=numbers.below(4) {
        change(&mut out, others, numbers);
        out.truncate(MAX_BYTES);
    }
    out
}

fn change(out: &mut Vec<u8>, others: &[Vec<u8>], numbers: &mut Numbers) {
    let at = numbers.below(out.len() + 1);
    let end = at + numbers.below((out.len() - at).min(32) + 1);
    match numbers.below(8) {
        0 => {
            let token = TOKENS[numbers.below(TOKENS.len())];
            out.splice(at..at, token.iter().copied());
        }
        1 => {
            out.drain(at..end);
        }
        2 => {
            let copy = out[at..end].to_vec();
            out.splice(at..at, copy);
        }
        3 => {
            if let Some(byte) = out.get_mut(at) {
                *byte ^= 1 << numbers.below(8);
            }
        }
        4 => {
            if let Some(byte) = out.get_mut(at) {
                *byte = u8::try_from(numbers.below(256)).unwrap_or_default();
            }
        }
        5 => out.truncate(at),
        6 => {
            let times = numbers.below(200);
            let copy = out[at..end].repeat(times);
            out.splice(at..at, copy);
        }
        _ => {
            if let Some(other) = others.get(numbers.below(others.len())) {
                let from = numbers.below(other.len() + 1);
                out.truncate(at);
                out.extend_from_slice(&other[from..]);
            }
        }
    }
}
