//! The two base graphs (TS 38.212 tables 5.3.2-2 and 5.3.2-3) and their liftings.

use std::sync::OnceLock;

/// Largest lifting size.
pub const MAX_LIFTING: usize = 384;

/// A base graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseGraph {
    /// 46 × 68, K = 22 Z.
    One,
    /// 42 × 52, K = 10 Z.
    Two,
}

/// One entry of a base graph: row, column and the shifts of the eight lifting sets.
type Entry = (usize, usize, [u16; 8]);

/// Odd factors of the lifting sizes; their order is the set index.
const FACTORS: [usize; 8] = [2, 3, 5, 7, 9, 11, 13, 15];

impl BaseGraph {
    /// Information columns of the lifted graph.
    pub const fn columns_k(self) -> usize {
        match self {
            Self::One => 22,
            Self::Two => 10,
        }
    }

    /// All columns.
    pub const fn columns(self) -> usize {
        match self {
            Self::One => 68,
            Self::Two => 52,
        }
    }

    /// All rows.
    pub const fn rows(self) -> usize {
        self.columns() - self.columns_k()
    }

    /// The lifting sizes in rising order.
    pub fn liftings() -> Vec<usize> {
        let mut sizes: Vec<_> = FACTORS
            .iter()
            .flat_map(|factor| (0..8).map(move |power| factor << power))
            .filter(|size| *size <= MAX_LIFTING)
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// The smallest lifting size that holds `information_bits` (TS 38.212 section 5.2.2), if there is one.
    pub fn lifting_for(self, information_bits: usize) -> Option<usize> {
        let filled = match self {
            Self::One => 22,
            Self::Two if information_bits > 640 => 10,
            Self::Two if information_bits > 560 => 9,
            Self::Two if information_bits > 192 => 8,
            Self::Two => 6,
        };
        Self::liftings().into_iter().find(|size| filled * size >= information_bits)
    }

    fn entries(self) -> &'static [Entry] {
        static ONE: OnceLock<Vec<Entry>> = OnceLock::new();
        static TWO: OnceLock<Vec<Entry>> = OnceLock::new();
        match self {
            Self::One => ONE.get_or_init(|| parse(include_str!("bg1.txt"))),
            Self::Two => TWO.get_or_init(|| parse(include_str!("bg2.txt"))),
        }
    }
}

fn parse(text: &str) -> Vec<Entry> {
    text.lines()
        .map(|line| {
            let numbers: Vec<u16> =
                line.split_whitespace().map(|word| word.parse().expect("a shipped table")).collect();
            let shifts = numbers[2..].try_into().expect("eight shifts");
            (usize::from(numbers[0]), usize::from(numbers[1]), shifts)
        })
        .collect()
}

/// A quasi-cyclic parity-check matrix: rows of (column, shift); row `r` of a block with shift `s` checks
/// bit `(r + s) mod Z` of its column.
#[derive(Debug, Clone)]
pub struct QuasiCyclic {
    lifting: usize,
    columns: usize,
    rows: Vec<Vec<(usize, usize)>>,
}

impl QuasiCyclic {
    /// The lifting of a base graph.
    pub fn new(graph: BaseGraph, lifting: usize) -> Self {
        let odd = lifting >> lifting.trailing_zeros();
        let factor = if odd == 1 { 2 } else { odd };
        let set = FACTORS.iter().position(|known| *known == factor).expect("a lifting size of the standard");
        let mut rows = vec![Vec::new(); graph.rows()];
        for (row, column, shifts) in graph.entries() {
            rows[*row].push((*column, usize::from(shifts[set]) % lifting));
        }
        Self { lifting, columns: graph.columns(), rows }
    }

    /// A matrix given by its rows.
    pub fn from_rows(lifting: usize, columns: usize, rows: Vec<Vec<(usize, usize)>>) -> Self {
        Self { lifting, columns, rows }
    }

    /// Z.
    pub fn lifting(&self) -> usize {
        self.lifting
    }

    /// Columns of the base matrix.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Rows of the base matrix.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Entries of the base matrix.
    pub fn edges(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }

    /// One row's (column, shift) entries.
    pub fn row(&self, row: usize) -> &[(usize, usize)] {
        &self.rows[row]
    }

    /// Keeps the first `rows` rows, and the columns that they reach.
    pub(super) fn prune(&mut self, rows: usize) {
        self.rows.truncate(rows);
        self.columns = self.rows.iter().flatten().map(|(column, _)| column + 1).max().unwrap_or(0);
    }
}
