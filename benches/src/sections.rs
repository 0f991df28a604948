//! What is measured on an adapter, section by section. A section that cannot be measured leaves an error, and the run
//! goes on.

use crate::device::Device;
use crate::document::{Over, PeerFile, PeerRow, PeerTime, Report, Row, Start, compare};
use crate::kernels::{Buffers, Kernel, Rung};
use crate::ours::{Load, Ours};
use crate::turns::{Budget, Candidate, Quartiles, Times, in_turns};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use std::time::Instant;
use wgpu_optim::program::{Limits, Program, Shape};
use wgpu_optim::{AnyRule, Lookahead, NonFinite, Options, Wrappers};

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct Plan {
    pub rules: Vec<String>,
    pub sizes: Vec<u64>,
    /// Parameters of the sections that compare loads, rules and wrappers.
    pub loads: Vec<u64>,
    /// Parameters of a step of the section of rules.
    pub rules_size: u64,
    /// Seconds for an adapter.
    pub seconds: f64,
    pub sections: Vec<String>,
}

/// The names of the sections.
pub const SECTIONS: [&str; 9] =
    ["sizes", "ladder", "tensors", "wrappers", "rules", "resting", "rows", "saving", "start"];

/// Measures one adapter.
pub struct Session<'a> {
    pub device: &'a Device,
    pub plan: &'a Plan,
    pub bar: &'a ProgressBar,
    pub report: &'a mut Report,
}

impl<'a> Session<'a> {
    /// All sections.
    pub fn run(&mut self, peers: &[PeerFile]) {
        let parts: [fn(&mut Session<'a>) -> Result<()>; SECTIONS.len()] = [
            Self::sizes,
            Self::ladder,
            Self::tensors,
            Self::wrappers,
            Self::rules,
            Self::resting,
            Self::rows,
            Self::saving,
            Self::start,
        ];
        for (name, part) in SECTIONS.into_iter().zip(parts) {
            if self.plan.sections.iter().any(|wanted| wanted == name) {
                self.bar.set_message(name);
                let done = part(self);
                self.note(name, done);
            }
            self.bar.inc(1);
        }
        for file in peers {
            let done = self.peers(file);
            self.note("peers", done);
        }
    }

    /// Keeps an error.
    fn note<T>(&mut self, what: &str, done: Result<T>) -> Option<T> {
        done.map_err(|error| self.report.errors.push(format!("{what}: {error:#}"))).ok()
    }

    /// A share of the seconds for an adapter, for one of `count` measurements.
    pub fn budget(&self, share: f64, count: usize) -> Budget {
        Budget { seconds: self.plan.seconds * share / count.max(1) as f64, between: 0.02 }
    }

    /// AdamW over one tensor of each size, against the best hand-written kernel and the kernel that copies.
    fn sizes(&mut self) -> Result<()> {
        let sizes = self.plan.sizes.clone();
        for size in &sizes {
            let budget = self.budget(0.25, sizes.len());
            let done = self.size(*size, budget);
            self.note(&format!("{size} parameters"), done);
        }
        Ok(())
    }

    fn size(&mut self, size: u64, budget: Budget) -> Result<()> {
        let device = self.device;
        let mut ours = Ours::new(device, Load::one(size), &AnyRule::named("adamw")?, Wrappers::default())?;
        let part = Budget { seconds: budget.seconds / 3.0, ..budget };
        let copy_buffers = Buffers::copy(device, ours.bytes())?;
        let mut copy = copy_buffers.best(device, part)?;
        let mut plain = self.plain(ours.parameters(), part);
        let mut candidates: Vec<&mut dyn Candidate> = vec![&mut ours, &mut copy];
        if let Some(plain) = &mut plain {
            candidates.push(plain);
        }
        let times = in_turns(device, &mut candidates, part)?;
        let mut row = our_row("sizes", "adamw", &ours, &times[0]);
        row.share_of_copy = share_of_copy(&row, &times[0], &times[1], &copy_buffers);
        if let Some(plain) = &plain {
            let (width, quads) = plain.rung;
            row.over = over(
                &times[0],
                &times[2],
                format!("the best hand-written kernel ({width} invocations x {quads} vec4)"),
                Some(if device.is_software() { "<= 1.05" } else { "<= 1.03" }),
            );
        }
        self.report.rows.push(row);
        let mut row = Row::new("sizes", "a kernel that copies as many bytes", &times[1]);
        (row.parameters, row.bytes) = (ours.parameters(), copy_buffers.copied());
        self.report.rows.push(row);
        Ok(())
    }

    /// The best hand-written kernel, where a binding holds its parameters.
    fn plain(&self, parameters: u64, budget: Budget) -> Option<Kernel> {
        if parameters * 4 > self.device.device.limits().max_storage_buffer_binding_size {
            return None;
        }
        Buffers::adamw(self.device, parameters, 1).and_then(|buffers| buffers.best(self.device, budget)).ok()
    }

    /// Every shape of workgroups: of ours, of the hand-written kernel, of the copy.
    fn ladder(&mut self) -> Result<()> {
        let device = self.device;
        for size in self.plan.loads.clone() {
            let rule = AnyRule::named("adamw")?;
            let shapes = [Shape::Long, Shape::Wide(64), Shape::Wide(128), Shape::Wide(256)];
            let allowed = device.device.limits().max_compute_invocations_per_workgroup;
            let shapes = shapes.into_iter().filter(|shape| !matches!(shape, Shape::Wide(n) if *n > allowed));
            let mut ours: Vec<(Shape, Ours)> = shapes
                .map(|shape| {
                    let mut options = Options::default();
                    options.shape = Some(shape);
                    Ok((shape, Ours::with_options(device, Load::one(size), &rule, &options)?))
                })
                .collect::<Result<_>>()?;
            let parameters = ours[0].1.parameters();
            let copies = Buffers::copy(device, ours[0].1.bytes())?;
            let (mut plain, mut copy) =
                (Buffers::adamw(device, parameters, 1)?.ladder(device)?, copies.ladder(device)?);
            let mut candidates: Vec<&mut dyn Candidate> = vec![];
            candidates.extend(ours.iter_mut().map(|(_, ours)| ours as &mut dyn Candidate));
            candidates.extend(plain.iter_mut().chain(&mut copy).map(|kernel| kernel as &mut dyn Candidate));
            let times = in_turns(device, &mut candidates, self.budget(0.15, self.plan.loads.len()))?;
            let chosen = Shape::for_device(&Limits::of(&device.device));
            let first = ours.iter().position(|(shape, _)| *shape == chosen).unwrap_or(0);
            let mut rows = vec![];
            for ((shape, ours), times_of) in ours.iter().zip(&times) {
                let mine = if *shape == chosen { " (what this device is given)" } else { "" };
                let mut row = our_row("ladder", &format!("ours, {shape:?}{mine}"), ours, times_of);
                row.over = over(times_of, &times[first], format!("{chosen:?}"), None);
                rows.push(row);
            }
            for (i, kernel) in plain.iter().chain(&copy).enumerate() {
                let times_of = &times[ours.len() + i];
                let (what, bytes) = if i < plain.len() {
                    ("hand-written", ours[0].1.bytes())
                } else {
                    ("copy of as many bytes", copies.copied())
                };
                let (width, quads) = kernel.rung;
                let mut row =
                    Row::new("ladder", format!("{what}, {width} invocations x {quads} vec4"), times_of);
                (row.parameters, row.bytes) = (parameters, bytes);
                row.over = over(times_of, &times[first], format!("ours, {chosen:?}"), None);
                rows.push(row);
            }
            self.report.rows.extend(rows);
        }
        Ok(())
    }

    /// One tensor against many, in more and more groups, and against a dispatch for each tensor.
    fn tensors(&mut self) -> Result<()> {
        let device = self.device;
        let adamw = AnyRule::named("adamw")?;
        for size in self.plan.loads.clone() {
            let loads = [(1, 1), (148, 2), (1000, 16), (10_000, 465), (10_000, 1000)];
            let loads = loads.into_iter().filter(|(tensors, _)| *tensors as u64 * 8 <= size);
            let mut ours: Vec<(Load, Ours)> = loads
                .map(|(tensors, groups)| {
                    let load = Load { matrices: false, ..Load::many(size, tensors, groups) };
                    Ok((load, Ours::new(device, load, &adamw, Wrappers::default())?))
                })
                .collect::<Result<_>>()?;
            let each = if size >= 64_000 { Buffers::adamw(device, size, 1000).ok() } else { None };
            let mut each = each.map(|buffers| buffers.kernel(device, (128, 1))).transpose()?;
            let mut candidates: Vec<&mut dyn Candidate> = vec![];
            candidates.extend(ours.iter_mut().map(|(_, ours)| ours as &mut dyn Candidate));
            candidates.extend(each.as_mut().map(|kernel| kernel as &mut dyn Candidate));
            let times = in_turns(device, &mut candidates, self.budget(0.15, self.plan.loads.len()))?;
            let mut rows = vec![];
            for ((load, ours), times_of) in ours.iter().zip(&times) {
                let name = format!("adamw, {} tensors in {} groups", load.tensors, load.groups);
                let mut row = our_row("tensors", &name, ours, times_of);
                (row.tensors, row.groups) = (load.tensors, load.groups);
                let target = match load.tensors {
                    1 => None,
                    ..=1000 => Some("<= 1.05"),
                    _ if size < 4_000_000 => Some("<= 1.3"),
                    _ => Some("<= 1.1"),
                };
                row.over = over(times_of, &times[0], "one tensor".into(), target);
                rows.push(row);
            }
            if let (Some(_), Some(times_of)) = (&each, times.get(ours.len())) {
                let mut row =
                    Row::new("tensors", "hand-written, a dispatch for each of 1000 tensors", times_of);
                (row.parameters, row.tensors, row.dispatches) = (size, 1000, 1000);
                row.bytes = ours[0].1.bytes();
                let of_1000 = ours.iter().position(|(load, _)| load.tensors == 1000);
                row.over = of_1000.and_then(|i| over(times_of, &times[i], "ours, 1000 tensors".into(), None));
                rows.push(row);
            }
            self.report.rows.extend(rows);
        }
        Ok(())
    }

    /// What stands around a rule, and rules with norms, against AdamW: in one tensor and in many.
    fn wrappers(&mut self) -> Result<()> {
        let plain = Wrappers::default();
        let clip = Wrappers { max_grad_norm: Some(1.0), ..plain };
        let cases: [(&str, &str, Wrappers, usize, Option<&str>); 16] = [
            ("clipped by norm", "adamw", clip, 1, Some("<= 1.2")),
            ("clipped by norm", "adamw", clip, 1000, Some("<= 1.2")),
            ("clipped by norm", "adamw", clip, 10_000, Some("<= 1.2")),
            (
                "each tensor clipped",
                "adamw",
                Wrappers { max_tensor_norm: Some(1.0), ..plain },
                1000,
                Some("<= 1.2"),
            ),
            ("skips what is not finite", "adamw", Wrappers { non_finite: NonFinite::Skip, ..plain }, 1, None),
            ("cautious", "adamw", Wrappers { cautious: true, ..plain }, 1, Some("<= 1.65")),
            ("cautious", "adamw", Wrappers { cautious: true, ..plain }, 1000, Some("<= 1.65")),
            ("ema", "adamw", Wrappers { ema: Some(0.999), ..plain }, 1, None),
            (
                "lookahead",
                "adamw",
                Wrappers { lookahead: Some(Lookahead { k: 6, alpha: 0.5 }), ..plain },
                1,
                None,
            ),
            ("zeroed gradients", "adamw", Wrappers { zero_grad: true, ..plain }, 1, None),
            ("", "lamb", plain, 1000, None),
            ("", "lamb", plain, 10_000, None),
            ("a matrix", "adafactor", plain, 1, Some("<= 1.5")),
            ("matrices", "adafactor", plain, 1000, Some("<= 1.5")),
            ("vectors", "adafactor", plain, 1000, Some("<= 1.5")),
            ("vectors", "adafactor", plain, 10_000, None),
        ];
        let size = self.plan.rules_size;
        let copy_rung = self.copy_rung()?;
        for (what, rule, wrappers, tensors, target) in cases {
            let name =
                [rule, what].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
            let load = Load { matrices: what != "vectors", ..Load::many(size, tensors, 1) };
            let budget = self.budget(0.2, cases.len());
            let done = self.against_adamw(
                "wrappers",
                &name,
                &AnyRule::named(rule)?,
                wrappers,
                load,
                target,
                copy_rung,
                budget,
            );
            self.note(&name, done);
        }
        Ok(())
    }

    /// Every rule with its defaults, against AdamW and the kernel that copies.
    fn rules(&mut self) -> Result<()> {
        let rules = self.plan.rules.clone();
        let copy_rung = self.copy_rung()?;
        for name in &rules {
            let load = Load::one(self.plan.rules_size);
            let budget = self.budget(0.25, rules.len());
            let rule = AnyRule::named(name)?;
            let done =
                self.against_adamw("rules", name, &rule, Wrappers::default(), load, None, copy_rung, budget);
            self.note(name, done);
        }
        Ok(())
    }

    /// The shape of the fastest copy, of as many bytes as AdamW moves here.
    fn copy_rung(&self) -> Result<Rung> {
        let bytes = 28 * self.plan.rules_size;
        Ok(Buffers::copy(self.device, bytes)?.best(self.device, self.budget(0.02, 1))?.rung)
    }

    #[allow(clippy::too_many_arguments)] // what one measurement is about
    fn against_adamw(
        &mut self,
        section: &str,
        name: &str,
        rule: &AnyRule,
        wrappers: Wrappers,
        load: Load,
        target: Option<&str>,
        copy_rung: Rung,
        budget: Budget,
    ) -> Result<()> {
        let device = self.device;
        let adamw = AnyRule::named("adamw")?;
        let mut beside = Ours::new(device, Load::one(load.parameters), &adamw, Wrappers::default())?;
        let mut ours = Ours::new(device, load, rule, wrappers)?;
        let copies = Buffers::copy(device, ours.bytes())?;
        let mut copy = copies.kernel(device, copy_rung)?;
        let times = in_turns(device, &mut [&mut ours, &mut beside, &mut copy], budget)?;
        let mut row = our_row(section, name, &ours, &times[0]);
        row.tensors = load.tensors;
        // Of the same number of parameters, where a row of a matrix was left out.
        let each = |times: &Times, parameters: u64| -> Vec<f64> {
            times.best().iter().map(|seconds| seconds / parameters as f64).collect()
        };
        let ratio =
            Quartiles::of_ratio(&each(&times[0], ours.parameters()), &each(&times[1], beside.parameters()));
        let by_bytes = ours.optimizer.program().bytes_per_parameter as f64
            / beside.optimizer.program().bytes_per_parameter as f64;
        row.over = ratio.map(|ratio| Over {
            what: format!("adamw in one tensor (by bytes {by_bytes:.2})"),
            ratio,
            target: target.map(Into::into),
        });
        row.share_of_copy = share_of_copy(&row, &times[0], &times[2], &copies);
        self.report.rows.push(row);
        Ok(())
    }

    /// Time to the first step, each on a fresh device.
    fn start(&mut self) -> Result<()> {
        for name in ["sgd", "adamw", "lamb", "adafactor", "prodigy"] {
            let device = Device::open(self.device.adapter.clone())?;
            let rule = AnyRule::named(name)?;
            let params = Load::one(1 << 20).set(&device)?;
            let (options, limits) = (Options::default(), Limits::of(&device.device));
            let begin = Instant::now();
            Program::new(params.layout(), std::slice::from_ref(&rule), &options, &limits)?;
            let program_s = begin.elapsed().as_secs_f64();
            let begin = Instant::now();
            let mut ours = Ours::over(&device, params, &rule, &options)?;
            let optimizer_s = begin.elapsed().as_secs_f64();
            let begin = Instant::now();
            let mut encoder = device.encoder();
            ours.record(&mut encoder)?;
            device.submit(encoder)?;
            let first_step_s = begin.elapsed().as_secs_f64();
            self.report.starts.push(Start { optimizer: name.into(), program_s, optimizer_s, first_step_s });
        }
        Ok(())
    }

    /// A peer's steps beside ours: those that it measured in turns with ours, else measured now.
    fn peers(&mut self, file: &PeerFile) -> Result<()> {
        let ours_there: Vec<&PeerTime> = file.rows.iter().filter(|row| row.is_ours()).collect();
        for peer in file.rows.iter().filter(|row| !row.is_ours()) {
            let beside = ours_there.iter().find(|ours| ours.is_like(peer));
            let row = match beside {
                Some(ours) => compare(peer, ours, true),
                None => {
                    let measured = self.like(peer);
                    self.note(&format!("beside {}", peer.library), measured)
                        .and_then(|ours| compare(peer, &ours, false))
                }
            };
            self.report.peers.extend(row);
        }
        Ok(())
    }

    /// Our step of a peer's size.
    fn like(&mut self, peer: &PeerTime) -> Result<PeerTime> {
        let known = |row: &PeerRow| row.ours.is_like(peer) && !row.in_turns;
        if let Some(row) = self.report.peers.iter().find(|row| known(row)) {
            return Ok(row.ours.clone());
        }
        let load = Load { matrices: false, ..Load::many(peer.parameters, peer.tensors, peer.groups) };
        let rule = AnyRule::named(&peer.optimizer)
            .with_context(|| format!("{} names optimizer '{}'", peer.library, peer.optimizer))?;
        let mut ours = Ours::new(self.device, load, &rule, Wrappers::default())?;
        let times = in_turns(self.device, &mut [&mut ours], self.budget(0.2, 20))?;
        let median = |values: &[f64]| Quartiles::of(values).map(|quartiles| quartiles.median);
        Ok(PeerTime {
            library: format!("wgpu-optim {}", wgpu_optim::VERSION),
            variant: String::new(),
            device: self.report.name.clone(),
            gpu_s: median(&times[0].gpu),
            wall_s: median(&times[0].wall),
            ..peer.clone()
        })
    }
}

pub fn our_row(section: &str, name: &str, ours: &Ours, times: &Times) -> Row {
    Row {
        parameters: ours.parameters(),
        dispatches: ours.optimizer.dispatches_per_step(),
        bytes: ours.bytes(),
        overhead_bytes: Some(ours.overhead()),
        ..Row::new(section, name, times)
    }
}

pub fn over(times: &Times, other: &Times, what: String, target: Option<&str>) -> Option<Over> {
    let ratio = Quartiles::of_ratio(times.best(), other.best())?;
    Some(Over { what, ratio, target: target.map(Into::into) })
}

/// Bytes a second over those of the copy.
fn share_of_copy(row: &Row, times: &Times, copy: &Times, copies: &Buffers) -> Option<Quartiles> {
    let scale = row.bytes as f64 / copies.copied() as f64;
    let copied: Vec<f64> = copy.best().iter().map(|seconds| seconds * scale).collect();
    Quartiles::of_ratio(&copied, times.best())
}
