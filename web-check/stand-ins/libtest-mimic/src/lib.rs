//! What the tests use of libtest-mimic. `run` only collects the trials: a page runs them, since one that panics takes
//! the whole module with it.

use std::cell::RefCell;

/// Why a trial failed.
#[derive(Debug)]
pub struct Failed(String);

impl<M: std::fmt::Display> From<M> for Failed {
    fn from(message: M) -> Self {
        Self(message.to_string())
    }
}

type Test = Box<dyn FnOnce() -> Result<(), Failed>>;

/// One test.
pub struct Trial {
    name: String,
    ignored: bool,
    test: Test,
}

impl Trial {
    pub fn test(name: impl Into<String>, test: impl FnOnce() -> Result<(), Failed> + 'static) -> Self {
        Self { name: name.into(), ignored: false, test: Box::new(test) }
    }

    pub fn with_ignored_flag(self, ignored: bool) -> Self {
        Self { ignored, ..self }
    }

    /// Runs it: what went wrong, if something did.
    pub fn failure(self) -> Option<String> {
        if self.ignored { None } else { (self.test)().err().map(|Failed(message)| message) }
    }

    pub fn is_ignored(&self) -> bool {
        self.ignored
    }
}

/// A page has no arguments.
#[derive(Debug)]
pub struct Arguments;

impl Arguments {
    pub fn from_args() -> Self {
        Self
    }
}

/// Nothing was run yet.
#[derive(Debug)]
pub struct Conclusion;

impl Conclusion {
    pub fn has_failed(&self) -> bool {
        false
    }

    /// A page goes on.
    pub fn exit(&self) {}
}

thread_local! {
    static TRIALS: RefCell<Vec<Option<Trial>>> = const { RefCell::new(vec![]) };
}

/// Collects the trials.
pub fn run(_: &Arguments, trials: Vec<Trial>) -> Conclusion {
    TRIALS.with_borrow_mut(|all| all.extend(trials.into_iter().map(Some)));
    Conclusion
}

/// How many were collected.
pub fn count() -> usize {
    TRIALS.with_borrow(Vec::len)
}

/// The name of a trial that was not taken yet.
pub fn name(index: usize) -> String {
    TRIALS
        .with_borrow(|all| all.get(index).and_then(Option::as_ref).map(|trial| trial.name.clone()))
        .unwrap_or_default()
}

/// Takes a trial out, to run it.
pub fn take(index: usize) -> Option<Trial> {
    TRIALS.with_borrow_mut(|all| all.get_mut(index)?.take())
}
