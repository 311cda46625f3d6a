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

/// Most columns, edges and edges of one row of any matrix that the decoder takes.
pub(super) const MAX_COLUMNS: usize = 68;
pub(super) const MAX_EDGES: usize = 400;
pub(super) const MAX_DEGREE: usize = 24;

/// Most lanes of a column in the decoder: Z of one word, or of several together, up to Z 160.
pub(super) const MAX_LANES: usize = 640;

/// Lanes of a register that holds a whole column, or those of several words.
pub(super) const PACKED_LANES: usize = 64;

/// A quasi-cyclic parity-check matrix: rows of (column, shift); row `r` of a block with shift `s` checks
/// bit `(r + s) mod Z` of its column.
#[derive(Debug, Clone)]
pub struct QuasiCyclic {
    lifting: usize,
    columns: usize,
    rows: Vec<Vec<(usize, usize)>>,
    schedule: Schedule,
}

/// The matrix as the vector kernels run it: a column stays rotated as its last row left it, so that each edge turns it
/// once, by the difference of two shifts, and writes it back in place.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedule {
    /// Row after row.
    pub(super) edges: Vec<Edge>,
    /// Edges of each row.
    pub(super) degrees: Vec<usize>,
    /// Rotation of each column between iterations: bit `(n + rest) mod Z` stands at `n`.
    pub(super) rest: Vec<usize>,
    /// For Z ≤ 64, `turn` and `check_turn` as lane numbers within registers of [`Self::slots`] words.
    pub(super) lanes: Vec<[[u8; PACKED_LANES]; 2]>,
}

/// One entry of the matrix.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) column: usize,
    /// Turn from the rotation that the row before left.
    pub(super) turn: usize,
    /// Turn from the rotation between iterations.
    pub(super) check_turn: usize,
}

/// Words that share a register when Z ≤ 64: each takes 64, 32 or 16 lanes.
pub(super) const fn slots(lifting: usize) -> usize {
    if lifting > 32 {
        1
    } else if lifting > 16 {
        2
    } else {
        4
    }
}

impl Schedule {
    fn new(lifting: usize, columns: usize, rows: &[Vec<(usize, usize)>]) -> Self {
        let mut rest = vec![0; columns];
        for (column, shift) in rows.iter().flatten() {
            rest[*column] = *shift;
        }
        let mut rotation = rest.clone();
        let mut edges = Vec::new();
        for (column, shift) in rows.iter().flatten().copied() {
            let turn = (shift + lifting - rotation[column]) % lifting;
            edges.push(Edge { column, turn, check_turn: (shift + lifting - rest[column]) % lifting });
            rotation[column] = shift;
        }
        let width = PACKED_LANES / slots(lifting);
        let turned = |turn: usize| {
            std::array::from_fn(|lane| (lane / width * width + (lane % width + turn) % lifting % width) as u8)
        };
        let packs = lifting <= PACKED_LANES;
        let lanes = edges.iter().filter(|_| packs).map(|edge| [turned(edge.turn), turned(edge.check_turn)]).collect();
        Self { edges, degrees: rows.iter().map(Vec::len).collect(), rest, lanes }
    }
}

impl QuasiCyclic {
    /// The lifting of a base graph.
    pub fn new(graph: BaseGraph, lifting: usize) -> Self {
        Self::from_rows(lifting, graph.columns(), lifted(graph, lifting, graph.rows()))
    }

    /// The same, of its first `rows` rows and the columns that they reach.
    pub(super) fn pruned(graph: BaseGraph, lifting: usize, rows: usize) -> Self {
        let rows = lifted(graph, lifting, rows);
        let columns = rows.iter().flatten().map(|(column, _)| column + 1).max().unwrap_or(0);
        Self::from_rows(lifting, columns, rows)
    }

    /// A matrix given by its rows.
    ///
    /// # Panics
    ///
    /// Where it is larger than the larger base graph (Z 384, 68 columns, 400 edges, 24 of them in a row), names a column
    /// or shift that there is not, or names a column twice in a row.
    pub fn from_rows(lifting: usize, columns: usize, rows: Vec<Vec<(usize, usize)>>) -> Self {
        let edges: usize = rows.iter().map(Vec::len).sum();
        assert!((1..=MAX_LIFTING).contains(&lifting) && columns <= MAX_COLUMNS && edges <= MAX_EDGES);
        for row in &rows {
            assert!(row.len() <= MAX_DEGREE);
            assert!(row.iter().all(|(column, shift)| *column < columns && *shift < lifting));
            assert!((1..row.len()).all(|at| row[..at].iter().all(|(column, _)| *column != row[at].0)));
        }
        let schedule = Schedule::new(lifting, columns, &rows);
        Self { lifting, columns, rows, schedule }
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
        self.schedule.edges.len()
    }

    /// One row's (column, shift) entries.
    pub fn row(&self, row: usize) -> &[(usize, usize)] {
        &self.rows[row]
    }

    /// How the vector kernels run it.
    pub(super) fn schedule(&self) -> &Schedule {
        &self.schedule
    }
}

/// The first `rows` rows of a base graph at a lifting size.
fn lifted(graph: BaseGraph, lifting: usize, rows: usize) -> Vec<Vec<(usize, usize)>> {
    let odd = lifting >> lifting.trailing_zeros();
    let factor = if odd == 1 { 2 } else { odd };
    let set = FACTORS.iter().position(|known| *known == factor).expect("a lifting size of the standard");
    let mut lifted = vec![Vec::new(); graph.rows()];
    for (row, column, shifts) in graph.entries() {
        lifted[*row].push((*column, usize::from(shifts[set]) % lifting));
    }
    lifted.truncate(rows);
    lifted
}
