//! Kinds of blocks: what a flowgraph file may name, what it says about itself, and how one is made.

use std::sync::Arc;

use serde::Serialize;
use toml::Table;

use super::{Context, shipped};
use crate::stream::{Item, Stage};
use crate::{Error, Result, config};

/// What a kind does in a system: whoever looks for "the stage that locates" asks for its role, not for its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Creates the frames that are sent.
    Creates,
    /// Repeats the frames that a transmitter elsewhere, or of the past, has sent.
    Repeats,
    /// Passes frames on and copies them for receivers elsewhere and for a recording.
    Relays,
    /// Turns one form of the signal into the next on its way to the antennas.
    Shapes,
    /// Sends antenna samples by a device.
    Sends,
    /// Gives what receivers hear, from a device or from the simulated air.
    Hears,
    /// Reads frames out of what was heard.
    Receives,
    /// Finds targets in what was heard.
    Locates,
    /// Delivers what the frames carry.
    Delivers,
    /// Puts user data into frames that pass, or takes it out of them.
    Carries,
    /// Passes samples on and records them.
    Records,
    /// Gives recorded samples in the place of what hears.
    Replays,
    /// Ends a chain and keeps nothing.
    Discards,
    /// None of these.
    Other,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creates => "creates",
            Self::Repeats => "repeats",
            Self::Relays => "relays",
            Self::Shapes => "shapes",
            Self::Sends => "sends",
            Self::Hears => "hears",
            Self::Receives => "receives",
            Self::Locates => "locates",
            Self::Delivers => "delivers",
            Self::Carries => "carries",
            Self::Records => "records",
            Self::Replays => "replays",
            Self::Discards => "discards",
            Self::Other => "other",
        })
    }
}

/// What goes into a kind of block or comes out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// The item; `None` where it depends on the block's keys or on what is before it.
    pub item: Option<Item>,
    /// The rows, in words.
    pub rows: &'static str,
}

impl Port {
    /// Whatever the block's `shape` says.
    pub const ANY: Self = Self { item: None, rows: "" };
    /// Nothing: before a source and after a sink.
    pub const NOTHING: Self = Self { item: Some(Item::Nothing), rows: "" };
    /// Coded frames.
    pub const CODED: Self = Self { item: Some(Item::Coded), rows: "" };

    /// Complex samples or symbols with these rows.
    pub const fn complex(rows: &'static str) -> Self {
        Self { item: Some(Item::Complex), rows }
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let item = self.item.map_or("anything".into(), |item| item.to_string());
        if self.rows.is_empty() { f.write_str(&item) } else { write!(f, "{item}: {}", self.rows) }
    }
}

impl Serialize for Port {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A key that stages of a kind may have in a flowgraph file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value is: text, number, integer, true or false, a list of them.
    #[serde(rename = "type")]
    pub value: &'static str,
    /// Unit of the value; empty where it has none.
    pub unit: &'static str,
    /// Values that are accepted.
    pub range: &'static str,
    /// What holds where the key is absent; `None` where it must not be.
    pub default: Option<&'static str>,
    /// What it means.
    pub doc: &'static str,
}

/// Makes a stage from what the run offers and from the stage's keys.
pub type Make = dyn Fn(&mut Context, Table) -> Result<Box<dyn Stage>> + Send + Sync;

/// One kind of block.
#[derive(Clone)]
pub struct Kind {
    /// Name in flowgraph files.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What it does in a system.
    pub role: Role,
    /// What it takes.
    pub inlet: Port,
    /// What it gives.
    pub outlet: Port,
    /// Its keys.
    pub keys: &'static [Key],
    /// Makes one. May hold state of whoever registers the kind.
    pub make: Arc<Make>,
}

/// A kind as `issc blocks --json` describes it.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// Its name.
    pub kind: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What it does in a system.
    pub role: Role,
    /// What it takes.
    pub inlet: Port,
    /// What it gives.
    pub outlet: Port,
    /// Its keys.
    pub keys: &'static [Key],
}

impl Kind {
    /// All that can be said of it.
    pub fn description(&self) -> Description {
        let Self { name, summary, role, inlet, outlet, keys, .. } = *self;
        Description { kind: name, summary, role, inlet, outlet, keys }
    }

    /// A kind of the caller's own, without documented keys and of no role; the other fields can be set afterwards.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use issc::blocks::{Kind, Registry};
    /// use issc::stream::{Block, Flow, Frame, Shape, erase};
    /// use num_complex::Complex32;
    ///
    /// /// Passes samples on and counts their frames where the program can see it.
    /// struct Count(Arc<AtomicU64>);
    ///
    /// impl Block for Count {
    ///     type In = Complex32;
    ///     type Out = Complex32;
    ///     fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
    ///         Ok(inlet)
    ///     }
    ///     fn work(&mut self, input: &Frame<Complex32>, output: &mut Frame<Complex32>) -> Flow {
    ///         self.0.fetch_add(1, Ordering::Relaxed);
    ///         output.copy_rows(input, 0);
    ///         Flow::Forward
    ///     }
    /// }
    ///
    /// let count = Arc::new(AtomicU64::new(0));
    /// let captured = Arc::clone(&count);
    /// let registry = Registry::shipped().with(Kind::new("count", move |_, _| Ok(erase(Count(captured.clone())))));
    /// assert!(registry.get("count").is_some() && registry.get("superposer").is_some());
    /// ```
    pub fn new(
        name: &'static str,
        make: impl Fn(&mut Context, Table) -> Result<Box<dyn Stage>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            summary: "",
            role: Role::Other,
            inlet: Port::ANY,
            outlet: Port::ANY,
            keys: &[],
            make: Arc::new(make),
        }
    }
}

/// All that can be said of it, for people.
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, summary, role, inlet, outlet, keys, .. } = self;
        write!(f, "{name}\n{summary}\n\nrole   {role}\ntakes  {inlet}\ngives  {outlet}")?;
        for Key { name, value, unit, range, default, doc } in *keys {
            let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
            let default = default.map_or("required".into(), |default| format!("default: {default}"));
            write!(f, "\n\n{name} ({value}{unit}; {default})\n    {doc}\n    accepted: {range}")?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kind {{ {}, {} → {} }}", self.name, self.inlet, self.outlet)
    }
}

/// The kinds that flowgraphs may use.
#[derive(Debug, Clone)]
pub struct Registry {
    kinds: Vec<Kind>,
}

impl Registry {
    /// The page `docs/src/kinds.md`: every kind, with its keys.
    pub fn markdown(&self) -> String {
        let mut page = String::from(
            "# Kinds of stages\n\nThis page is the output of `issc blocks --markdown`; a test holds it against the program.\n",
        );
        for Kind { name, summary, role, inlet, outlet, keys, .. } in self.kinds() {
            page += &format!("\n## {name}\n\nRole: {role}. Takes {inlet}. Gives {outlet}.\n\n{summary}\n");
            if !keys.is_empty() {
                page += "\n| key | type | unit | accepted | default | meaning |\n|---|---|---|---|---|---|\n";
            }
            for Key { name, value, unit, range, default, doc } in *keys {
                let (range, default) = (range.replace('|', "\\|"), default.unwrap_or("required"));
                page += &format!("| `{name}` | {value} | {unit} | {range} | {default} | {doc} |\n");
            }
        }
        page
    }

    /// Those of this program. The kinds of radios describe themselves here and are made in a running system only,
    /// which puts the front end's ways to make them in their places.
    pub fn shipped() -> Self {
        Self { kinds: shipped::kinds() }
    }

    /// The same and one more; it takes the place of one of the same name.
    pub fn with(mut self, kind: Kind) -> Self {
        match self.kinds.iter_mut().find(|known| known.name == kind.name) {
            Some(known) => *known = kind,
            None => self.kinds.push(kind),
        }
        self
    }

    /// All kinds.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// All that can be said of all kinds.
    pub fn descriptions(&self) -> Vec<Description> {
        self.kinds.iter().map(Kind::description).collect()
    }

    /// The kind of this name.
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    /// The kind of this name, or an error that names the nearest one.
    pub fn find(&self, name: &str) -> Result<&Kind> {
        self.get(name).ok_or_else(|| {
            let near = config::nearest(name, self.kinds.iter().map(|kind| kind.name)).unwrap_or_default();
            Error::input(format!("no such kind; the nearest is `{near}` (see `issc blocks`)"))
        })
    }

    /// What stages of this kind do in a system; `None` for an unknown kind.
    pub fn role(&self, kind: &str) -> Option<Role> {
        self.get(kind).map(|kind| kind.role)
    }

    /// Makes a stage by itself; `keys` as they would stand in a flowgraph file, one a line.
    pub fn make(&self, kind: &str, keys: &str, context: &mut Context) -> Result<Box<dyn Stage>> {
        (self.find(kind)?.make)(context, config::from_toml(keys, kind)?)
    }
}
