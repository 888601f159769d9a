//! `cargo xtask abi`: how much of the kernel's interface the crate covers.
//!
//! Both sides are computed: what there is from `tests/uapi.tsv` and, for the preps, from
//! liburing's names in `tests/liburing-preps.txt`; what is ours from the code of `src`. A
//! constant of `src/abi` counts where a function uses it that a public function comes to;
//! comments, strings, tests, the simulated kernel and `src/abi` itself do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::Answer;
use crate::args::Args;
use crate::source::{self, Function};
use crate::tried;

pub fn abi(mut args: Args) -> Answer {
    let is_tried = args.flag("--tried");
    args.none()?;
    match is_tried {
        true => tried::tried(),
        false => complete().map(|()| ExitCode::SUCCESS),
    }
}

/// Prints the counts; `Err` names what is missing.
pub fn complete() -> Result<(), String> {
    let facts = Facts::read()?;
    let code = Code::read()?;
    let (setup, refused) = code.setup()?;
    let preps = preps()?;
    let names = preps.keys().cloned().collect();
    let counts = [
        Count::of("opcodes", facts.opcodes()?, code.opcodes()),
        Count::of("preps", names, code.preps(&preps)),
        Count::of("register", facts.registrations()?, code.registrations()),
        Count::of("setup", facts.family("IORING_SETUP_"), setup),
        Count::of("enter", facts.family("IORING_ENTER_"), code.enter()),
        Count::of("features", facts.family("IORING_FEAT_"), code.features()),
        Count::of("cqe flags", facts.cqe_flags()?, code.cqe_flags()),
    ];
    let line: Vec<String> = counts.iter().map(Count::show).collect();
    println!("{}", line.join(", "));
    let renamed = preps
        .iter()
        .filter(|(name, ours)| **ours != format!("prep_{name}"));
    let renamed = renamed.map(|(name, ours)| format!("{name} as {ours}"));
    println!("preps: under another name: {}", list(renamed));
    let setup = &counts[3];
    let (refused, offered): (Vec<_>, Vec<_>) =
        setup.ours().partition(|name| refused.contains(*name));
    println!(
        "setup: {} offered, {} refused by name: {}",
        offered.len(),
        refused.len(),
        list(refused)
    );
    let missing: Vec<String> = counts.iter().filter_map(Count::missing).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("the crate lacks{}", missing.concat())),
    }
}

fn list<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().fold(String::new(), |list, name| {
        let between = if list.is_empty() { "" } else { ", " };
        list + between + name.as_ref()
    })
}

/// As `src/abi` names them, in no order.
type Names = BTreeSet<String>;

/// A family: what there is, in the header's order, and what the code has.
struct Count {
    what: &'static str,
    all: Vec<String>,
    code: Names,
}

impl Count {
    fn of(what: &'static str, all: Vec<String>, code: Names) -> Self {
        Self { what, all, code }
    }

    fn ours(&self) -> impl Iterator<Item = &String> {
        self.all.iter().filter(|name| self.code.contains(*name))
    }

    fn show(&self) -> String {
        format!("{} {}/{}", self.what, self.ours().count(), self.all.len())
    }

    fn missing(&self) -> Option<String> {
        let missing = list(self.all.iter().filter(|name| !self.code.contains(*name)));
        if self.all.is_empty() {
            return Some(format!("\n{}: none to count", self.what));
        }
        (!missing.is_empty()).then(|| format!("\n{}: {missing}", self.what))
    }
}

/// The constants of `tests/uapi.tsv`.
pub struct Facts(Vec<Fact>);

struct Fact {
    name: String,
    value: u64,
    /// `define`, or the `enum` that it stands in.
    place: String,
}

impl Facts {
    pub fn read() -> Result<Self, String> {
        let file = "tests/uapi.tsv";
        let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        let lines = text.lines().filter(|line| line.starts_with("const\t"));
        let facts: Option<Vec<Fact>> = lines.map(Fact::parse).collect();
        match facts {
            Some(facts) if !facts.is_empty() => Ok(Self(facts)),
            _ => Err(format!("{file}: a constant without name, value and place")),
        }
    }

    /// Those with this prefix, without it: the module of `src/abi` says it.
    pub fn family(&self, prefix: &str) -> Vec<String> {
        let names = self
            .0
            .iter()
            .filter_map(|fact| fact.name.strip_prefix(prefix));
        names.map(str::to_string).collect()
    }

    pub fn opcodes(&self) -> Result<Vec<String>, String> {
        let names = self.below("enum io_uring_op", "IORING_OP_LAST")?;
        Ok(names.map(|name| name.replace("IORING_OP_", "")).collect())
    }

    /// What unregisters has that in its name, in `src/abi` too.
    pub fn registrations(&self) -> Result<Vec<String>, String> {
        let names = self.below("enum io_uring_register_op", "IORING_REGISTER_LAST")?;
        let short = |name: &str| {
            let name = name.replace("IORING_", "");
            name.strip_prefix("REGISTER_").unwrap_or(&name).to_string()
        };
        Ok(names.map(short).collect())
    }

    /// Those of any CQE. The bits from BUFFER_SHIFT on are the number of a buffer, or what
    /// one operation says in its place.
    fn cqe_flags(&self) -> Result<Vec<String>, String> {
        let end = 1 << self.value("IORING_CQE_BUFFER_SHIFT")?;
        let facts = self.0.iter().filter(|fact| fact.value < end);
        let names = facts.filter_map(|fact| fact.name.strip_prefix("IORING_CQE_F_"));
        Ok(names.map(str::to_string).collect())
    }

    /// Those of an enum below the one that says how many there are.
    fn below(&self, place: &str, last: &str) -> Result<impl Iterator<Item = &str>, String> {
        let end = self.value(last)?;
        let inside = move |fact: &&Fact| fact.place == place && fact.value < end;
        Ok(self.0.iter().filter(inside).map(|fact| fact.name.as_str()))
    }

    fn value(&self, name: &str) -> Result<u64, String> {
        let found = self.0.iter().find(|fact| fact.name == name);
        found
            .map(|fact| fact.value)
            .ok_or_else(|| format!("tests/uapi.tsv has no {name}"))
    }
}

impl Fact {
    fn parse(line: &str) -> Option<Self> {
        let mut columns = line.split('\t').skip(1);
        let (name, value, place) = (columns.next()?, columns.next()?, columns.next()?);
        let value = match value.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok()?,
            None => value.parse().ok()?,
        };
        Some(Self {
            name: name.into(),
            value,
            place: place.into(),
        })
    }
}

/// liburing's prep functions without `io_uring_prep_`, and what they are called here.
fn preps() -> Result<BTreeMap<String, String>, String> {
    let file = "tests/liburing-preps.txt";
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| match line.split_once('\t') {
        Some((name, ours)) => (name.to_string(), ours.to_string()),
        None => (line.to_string(), format!("prep_{line}")),
    };
    Ok(lines.map(pair).collect())
}

/// The functions of `src`.
struct Code(Vec<Function>);

impl Code {
    fn read() -> Result<Self, String> {
        let mut functions = source::functions(Path::new("src"))?;
        functions.retain(|function| !function.file.starts_with("src/sim"));
        Ok(Self(functions))
    }

    /// `op::X` in a public prep, or in what it calls.
    fn opcodes(&self) -> Names {
        let preps = self.within("src/prep");
        let is_prep = |f: &Function| f.is_public() && f.name.starts_with("prep_");
        used(source::reached(preps, is_prep), "op::")
    }

    /// Those that are a `pub unsafe fn` in `src/prep`.
    fn preps(&self, names: &BTreeMap<String, String>) -> Names {
        let ours = self.within("src/prep");
        let ours = ours.filter(|f| f.is_public() && f.is_unsafe());
        let ours: BTreeSet<&str> = ours.map(|f| f.name.as_str()).collect();
        let found = names
            .iter()
            .filter(|(_, name)| ours.contains(name.as_str()));
        found.map(|(name, _)| name.to_string()).collect()
    }

    fn registrations(&self) -> Names {
        used(self.offered("src"), "register::")
    }

    fn enter(&self) -> Names {
        used(self.offered("src"), "enter::")
    }

    /// What the builder's methods set, or what opening adds: `setup::X`, not behind a `&`,
    /// which only looks. And those that `src/setup/check.rs` refuses in every mode.
    fn setup(&self) -> Result<(Names, Names), String> {
        let mut functions = self.offered("src/setup/builder.rs");
        functions.extend(self.offered("src/setup/open.rs"));
        let words = functions
            .iter()
            .flat_map(|f| source::after(&f.body, "setup::"));
        let set = words.filter(|(_, before)| !before.ends_with("& "));
        let set = set.map(|(name, _)| name.to_string()).collect();

        let file = Path::new("src/setup/check.rs");
        let code = source::read(file)?;
        let never = code
            .split_once("const NEVER:")
            .and_then(|(_, rest)| rest.split_once("];"));
        let Some((never, _)) = never else {
            return Err(format!("{}: no `const NEVER`", file.display()));
        };
        let refused = source::after(never, "setup::").into_iter();
        Ok((set, refused.map(|(name, _)| name.to_string()).collect()))
    }

    /// What the methods of `Features` read.
    fn features(&self) -> Names {
        let methods = self.within("src/setup/features.rs");
        used(methods.filter(|f| f.is_public()), "features::")
    }

    /// What the methods of `Cqe` and `Cqe32` read, or the ring.
    fn cqe_flags(&self) -> Names {
        let methods = self.within("src/abi/cqe.rs").filter(|f| f.is_public());
        let mut names = used(methods, "cqe_flags::");
        names.extend(used(self.offered("src/ring"), "cqe_flags::"));
        // What the header calls 32 is no name in Rust.
        if names.remove("BIG") {
            names.insert("32".into());
        }
        names
    }

    fn within(&self, path: &str) -> impl Iterator<Item = &Function> {
        self.0.iter().filter(move |f| f.file.starts_with(path))
    }

    /// Public functions and what they come to, as far as it lies in `path`; `src/abi` does
    /// not.
    fn offered(&self, path: &str) -> Vec<&Function> {
        let functions = self.0.iter().filter(|f| !f.file.starts_with("src/abi"));
        let mut reached = source::reached(functions, Function::is_public);
        reached.retain(|f| f.file.starts_with(path));
        reached
    }
}

fn used<'f>(functions: impl IntoIterator<Item = &'f Function>, module: &str) -> Names {
    let functions = functions.into_iter();
    let words = functions.flat_map(|f| source::after(&f.body, module));
    words.map(|(name, _)| name.to_string()).collect()
}
