//! Work that is done once: results by name in a file, as they come, so that an interrupted run goes on.

use crate::lab::Lab;
use anyhow::{Context, Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

/// The results so far, and the labs that make more of them.
pub struct Store {
    known: Mutex<HashMap<String, serde_json::Value>>,
    file: Mutex<File>,
    labs: Vec<Mutex<Lab>>,
    bar: ProgressBar,
    /// Small sizes, to see that everything works.
    pub quick: bool,
}

/// A thing to do: its name says all that its result depends on.
pub struct Job<T> {
    pub name: String,
    /// How long it takes, beside others.
    pub weight: u64,
    pub what: T,
}

impl Store {
    /// Results of an earlier run are taken from `file`; a line that was not written to its end is left out.
    pub fn open(file: &Path, labs: Vec<Lab>, quick: bool) -> Result<Self> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let known = text.lines().filter_map(|line| serde_json::from_str::<(String, _)>(line).ok()).collect();
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .with_context(|| format!("cannot write {}", file.display()))?;
        if !text.is_empty() && !text.ends_with('\n') {
            writeln!(file)?;
        }
        let labs = labs.into_iter().map(Mutex::new).collect();
        Ok(Self {
            known: Mutex::new(known),
            file: Mutex::new(file),
            labs,
            bar: ProgressBar::no_length(),
            quick,
        })
    }

    /// `full`, or `quick` in a quick run.
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Shows the progress of an experiment of about this weight.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let style = "{prefix:>20} {wide_bar:.cyan/blue} {percent:>3} % [{elapsed}, {eta} left]  {msg}";
        self.bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(style)?);
        self.bar.set_prefix(name.to_string());
        Ok(())
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// More is to come than was asked for up to now.
    pub fn expect(&self, weight: u64) {
        self.bar.inc_length(weight);
    }

    /// The results of all jobs, in their order; `work` makes what is not known yet, one job in each lab.
    pub fn all<T: Sync, R: Serialize + DeserializeOwned>(
        &self,
        jobs: &[Job<T>],
        work: impl Fn(&Lab, &T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let is_known = |job: &&Job<T>| self.read().is_ok_and(|known| known.contains_key(&job.name));
        let (done, open): (Vec<_>, Vec<_>) = jobs.iter().partition(is_known);
        // What is known takes no time, and would spoil the estimate.
        let saved: u64 = done.iter().map(|job| job.weight).sum();
        self.bar.set_length(self.bar.length().unwrap_or(0).saturating_sub(saved));
        let next = Mutex::new(open.iter());
        std::thread::scope(|scope| {
            let workers = self.labs.iter().map(|lab| {
                scope.spawn(|| -> Result<()> {
                    let lab = lab.lock().map_err(|_| anyhow!("a lab is broken"))?;
                    loop {
                        let job = next.lock().map_err(|_| anyhow!("a worker died"))?.next();
                        let Some(job) = job else { return Ok(()) };
                        self.bar.set_message(job.name.clone());
                        let result = work(&lab, &job.what).with_context(|| job.name.clone())?;
                        self.keep(&job.name, serde_json::to_value(result)?)?;
                        self.bar.inc(job.weight);
                    }
                })
            });
            let workers: Vec<_> = workers.collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, Result<()>>| {
                worker.join().map_err(|_| anyhow!("a worker died"))?
            };
            workers.into_iter().try_for_each(join)
        })?;
        let known = self.read()?;
        let result = |job: &Job<T>| {
            let value = known.get(&job.name).cloned().with_context(|| job.name.clone())?;
            serde_json::from_value(value)
                .with_context(|| format!("{}: a result of another program", job.name))
        };
        jobs.iter().map(result).collect()
    }

    /// Seconds that an experiment took in all runs of the program together, with these.
    pub fn spent(&self, experiment: &str, seconds: f64) -> Result<f64> {
        let name = format!("seconds of {experiment}");
        let before = self.read()?.get(&name).and_then(serde_json::Value::as_f64).unwrap_or(0.0);
        self.keep(&name, (before + seconds).into())?;
        Ok(before + seconds)
    }

    fn read(&self) -> Result<std::sync::MutexGuard<'_, HashMap<String, serde_json::Value>>> {
        self.known.lock().map_err(|_| anyhow!("a worker died"))
    }

    fn keep(&self, name: &str, value: serde_json::Value) -> Result<()> {
        let line = serde_json::to_string(&(name, &value))? + "\n";
        let mut file = self.file.lock().map_err(|_| anyhow!("a worker died"))?;
        file.write_all(line.as_bytes()).context("the results cannot be written")?;
        self.read()?.insert(name.to_string(), value);
        Ok(())
    }
}
