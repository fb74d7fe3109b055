//! What a build says while it works: bars on a terminal, lines otherwise, JSON on request.
//! To stderr, but for JSON.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::stderr::say;
use crate::stdout::{moves, print};

/// How it is said.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Bars,
    Lines,
    Json,
    #[cfg(test)]
    Silent,
}

/// The progress of a build.
pub(super) struct Progress {
    form: Form,
    /// How many steps there are, and how many were reached.
    steps: usize,
    step: Cell<usize>,
    begun: RefCell<Instant>,
    bar: RefCell<Option<ProgressBar>>,
}

impl Progress {
    pub(super) fn new(json: bool, steps: usize) -> Self {
        Self::with(
            steps,
            match (json, moves(&std::io::stderr())) {
                (true, _) => Form::Json,
                (false, true) => Form::Bars,
                (false, false) => Form::Lines,
            },
        )
    }

    #[cfg(test)]
    pub(super) fn silent() -> Self {
        Self::with(0, Form::Silent)
    }

    fn with(steps: usize, form: Form) -> Self {
        Self {
            form,
            steps,
            step: Cell::new(0),
            begun: RefCell::new(Instant::now()),
            bar: RefCell::new(None),
        }
    }

    /// `[3/13]`
    fn next(&self) -> String {
        self.step.set(self.step.get() + 1);
        format!("[{}/{}]", self.step.get(), self.steps)
    }

    /// That a step is at work.
    pub(super) fn begin(&self, step: &str, log: &Path) {
        let count = self.next();
        *self.begun.borrow_mut() = Instant::now();
        match self.form {
            Form::Bars => {
                let bar = ProgressBar::new(0).with_message(format!("{count} {step}"));
                bar.set_style(style("{msg:32} {spinner} {elapsed}"));
                bar.enable_steady_tick(Duration::from_millis(200));
                *self.bar.borrow_mut() = Some(bar);
            }
            Form::Lines => say(&format!("{count} {step} ...")),
            Form::Json => event(&json!({ "event": "begin", "step": step, "log": log })),
            #[cfg(test)]
            Form::Silent => {}
        }
    }

    /// That so many of so many parts of the step are done.
    pub(super) fn at(&self, done: u64, of: u64) {
        if let Some(bar) = &*self.bar.borrow() {
            bar.set_style(style("{msg:32} [{bar:30}] {pos}/{len} {elapsed}, {eta} left"));
            bar.set_length(of);
            bar.set_position(done);
        } else if self.form == Form::Json {
            event(&json!({ "event": "progress", "done": done, "of": of }));
        }
    }

    /// That a step was done before, with the same inputs.
    pub(super) fn kept(&self, step: &str) {
        let count = self.next();
        match self.form {
            Form::Bars | Form::Lines => say(&format!("{count} {step}: nothing changed")),
            Form::Json => event(&json!({ "event": "kept", "step": step })),
            #[cfg(test)]
            Form::Silent => {}
        }
    }

    /// That a step is `done`, `failed` or `interrupted`.
    pub(super) fn end(&self, step: &str, how: &str) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
        let seconds = self.begun.borrow().elapsed().as_secs_f64();
        match self.form {
            Form::Bars | Form::Lines => say(&format!("{step}: {how} in {seconds:.1} s")),
            Form::Json => event(&json!({ "event": how, "step": step, "seconds": seconds })),
            #[cfg(test)]
            Form::Silent => {}
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn event(value: &serde_json::Value) {
    // Progress that nobody can read is no reason to end a build.
    let _ = print(&format!("{value}\n"));
}
