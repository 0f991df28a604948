//! The sharded optimizer: gradients down and reduced, one step on the share, parameters to all and up.

use crate::agree::{compare, together};
use crate::buckets::{Bucket, buckets};
use crate::deal::{Piece, Whole};
use crate::error::Error;
use crate::prepare::{Built, Prepared, lines};
use crate::talk::{OnItsWay, Talk};
use crate::terms::Terms;
use mpi::topology::Communicator;
use std::ops::Range;
use std::time::{Duration, Instant};
use wgpu_optim::program::{Limits, Options};
use wgpu_optim::rule::Config;
use wgpu_optim::{BufferRange, GroupId, Optimizer, ParamSet};

/// What the gradients of ranks become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum over the number of ranks, for losses that are means over each rank's examples.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// How state is shared out.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Sharding {
    /// What the gradients of ranks become. Default the mean.
    pub reduction: Reduction,
    /// Whether large tensors may be cut by rows where elements do not know one another. Default on; off, memory is shared out less
    /// evenly, and norms over all gradients have the bits of one device.
    pub cut: bool,
    /// Elements that travel at once. Default 4 194 304, that is 16 MiB.
    pub bucket: usize,
    /// How long to wait for the other ranks before [`Error::NoAnswer`]. Default a minute.
    pub timeout: Duration,
}

impl Default for Sharding {
    fn default() -> Self {
        Self { reduction: Reduction::Mean, cut: true, bucket: 1 << 22, timeout: Duration::from_secs(60) }
    }
}

/// What the last step took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Gradients from the device.
    pub download: Duration,
    /// MPI's time for them, what was left of the wait for the other ranks' ones, and adding them up.
    pub reduce: Duration,
    /// Reduced gradients to the device, the dispatches, and what ranks tell one another between them.
    pub step: Duration,
    /// Parameters from the device, and the wait for the other ranks' ones.
    pub gather: Duration,
    /// Parameters to the device.
    pub upload: Duration,
}

/// An optimizer whose state is shared out over ranks; see the [crate's page](crate).
#[derive(Debug)]
pub struct ShardedOptimizer<C> {
    pub(crate) talk: Talk,
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// All parameters and gradients.
    pub(crate) params: ParamSet,
    /// Those of the share, in the same buffers.
    pub(crate) share: ParamSet,
    groups: Vec<GroupId>,
    pub(crate) optimizer: Optimizer<C>,
    pub(crate) model: Vec<Whole>,
    pub(crate) pieces: Vec<Piece>,
    /// Buffers and first bytes of each piece's parameters and gradients.
    places: Vec<[BufferRange; 2]>,
    buckets: Vec<Bucket>,
    staging: [wgpu::Buffer; 2],
    /// Words of each rank's terms, in each exchange of a step, and where they go.
    exchanges: Vec<Terms>,
    sharding: Sharding,
    zero_grad: bool,
    timings: Timings,
}

impl<C: Config> ShardedOptimizer<C> {
    /// An optimizer for the groups of `params`, in the order in which they were declared. All ranks of `world` have to call
    /// this, with the same model: rank 0's parameters then go to all.
    ///
    /// # Errors
    /// [`Error::Differs`] on all ranks, naming the first difference of the first rank that has another model, rule, number, option
    /// or version; [`Error::Unsupported`], [`Error::Buffer`], [`Error::NoAnswer`], and as
    /// [`Optimizer::new`](wgpu_optim::Optimizer::new).
    pub fn new(
        world: &impl Communicator,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        params: &ParamSet,
        groups: impl IntoIterator<Item = C>,
        options: &Options,
        sharding: &Sharding,
    ) -> Result<Self, Error> {
        let talk = Talk::new(world, sharding.timeout);
        let groups: Vec<C> = groups.into_iter().collect();
        let limits = Limits::of(device);
        let prepared = Prepared::new(&talk, params, &groups, options, sharding, &limits);
        compare(&talk, &lines(params, &groups, options, sharding))?;
        let prepared = together(&talk, prepared)?;
        let built = Built::new(talk.rank(), (device, queue), params, groups, &prepared);
        let Built { places, share, groups, optimizer } = together(&talk, built)?;
        let Prepared { options, model, pieces, .. } = prepared;
        let buckets = buckets(&pieces, talk.ranks(), sharding.bucket.max(1));
        let most = buckets.iter().map(Bucket::len).max().unwrap_or(0).max(1);
        let staging = [(); 2].map(|()| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("wgpu-optim-mpi: on the way down"),
                size: 4 * most as u64,
                usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
                mapped_at_creation: false,
            })
        });
        let made = Self {
            exchanges: vec![],
            zero_grad: options.wrappers.zero_grad,
            talk,
            device: device.clone(),
            queue: queue.clone(),
            params: params.clone(),
            share,
            groups,
            optimizer,
            model,
            pieces,
            places,
            buckets,
            staging,
            sharding: sharding.clone(),
            timings: Timings::default(),
        };
        made.begin()
    }

    /// What every rank tells the others once all were made: that it was, and how it keeps its terms.
    fn begin(mut self) -> Result<Self, Error> {
        let own = self.optimizer.program().part.clone();
        let exchanges = own.as_ref().map_or(0, |part| part.exchanges.len());
        // A rank without a share has no passes, and takes part in what the others tell one another.
        let told = self.talk.texts(&exchanges.to_string(), "how many exchanges a step has")?;
        let most = told.iter().filter_map(|text| text.parse().ok()).max().unwrap_or(0);
        for i in 0..most {
            let bytes =
                own.as_ref().and_then(|part| part.exchanges.get(i)).map_or(0, |exchange| exchange.bytes);
            let told = self.talk.texts(&bytes.to_string(), "how long terms are")?;
            let bytes: usize = told.iter().filter_map(|text| text.parse().ok()).max().unwrap_or(0);
            let terms = Terms::new(&self.talk, &self.model, &self.pieces, own.as_ref(), bytes / 4)?;
            self.exchanges.push(terms);
        }
        self.gather_from_first()?;
        Ok(self)
    }

    /// The rank's number.
    pub fn rank(&self) -> usize {
        self.talk.rank()
    }

    /// How many ranks there are.
    pub fn ranks(&self) -> usize {
        self.talk.ranks()
    }

    /// The optimizer of the share: its program, readings and slots.
    pub fn inner(&self) -> &Optimizer<C> {
        &self.optimizer
    }

    /// The tensors of the share, whose handles [`inner`](ShardedOptimizer::inner) takes: pieces of the model's.
    pub fn share(&self) -> &ParamSet {
        &self.share
    }

    /// Who updates what.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Bytes of state on each rank.
    pub fn state_bytes(&self) -> u64 {
        self.optimizer.state_bytes()
    }

    /// What the last step took.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// The configuration of a group, by its place, to change before a step: on all ranks in the same way.
    pub fn group_mut(&mut self, group: usize) -> Option<&mut C> {
        self.optimizer.group_mut(*self.groups.get(group)?).ok()
    }

    /// One step of all ranks: reduces their gradients, updates the shares, and gives everybody all parameters. **Submits and
    /// waits** for the device and the other ranks. What the host recorded before must have been submitted.
    ///
    /// Gradients of the share are the reduced ones afterwards, all others this rank's own; with
    /// [`zero_grad`](wgpu_optim::Wrappers::zero_grad) all are zero.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], after which nothing can be said of the parameters; and as
    /// [`Optimizer::step`](wgpu_optim::Optimizer::step), of which the others hear nothing: check options on all ranks alike.
    pub fn step(&mut self) -> Result<(), Error> {
        let start = Instant::now();
        let (on_their_way, talking) = self.send_gradients()?;
        self.timings.download = start.elapsed().saturating_sub(talking);
        let start = Instant::now();
        let reduced = self.reduce(on_their_way)?;
        self.timings.reduce = start.elapsed() + talking;
        let start = Instant::now();
        for (bucket, words) in self.buckets.iter().zip(reduced) {
            let mut at = 0;
            for index in bucket.pieces.iter().filter(|index| self.pieces[**index].owner == self.talk.rank()) {
                let ([_, grad], len) = (&self.places[*index], self.pieces[*index].len);
                let values = bytemuck::cast_slice(&words[at..at + len]);
                self.queue.write_buffer(&grad.buffer, grad.offset, values);
                at += len;
            }
            self.talk.give_back(words);
        }
        self.update()?;
        self.timings.step = start.elapsed();
        self.gather(None)
    }

    /// Gradients of each bucket come down while the one before is sent; with the time that MPI took for itself.
    fn send_gradients(&mut self) -> Result<(Vec<OnItsWay>, Duration), Error> {
        let mut on_their_way: Vec<OnItsWay> = vec![];
        let mut talking = Duration::ZERO;
        let ranks = self.talk.ranks();
        let mut coming = self.buckets.first().map(|bucket| self.bring_down(0, bucket, 1, |_| true));
        for index in 0..self.buckets.len() {
            let bucket = &self.buckets[index];
            let submitted = coming.take();
            coming = self.buckets.get(index + 1).map(|next| self.bring_down(index + 1, next, 1, |_| true));
            let words = self.arrived(index, submitted, bucket.len())?;
            let start = Instant::now();
            let from = vec![bucket.counts[self.talk.rank()]; ranks];
            on_their_way.push(self.talk.to_each(words, &bucket.counts, &from, "gradients"));
            // MPI goes on with what it is asked about.
            on_their_way.iter_mut().for_each(|bucket| _ = bucket.is_done());
            talking += start.elapsed();
        }
        Ok((on_their_way, talking))
    }

    /// Adds up what came for the share, in the order of the ranks: of each bucket in the words that come first.
    fn reduce(&self, on_their_way: Vec<OnItsWay>) -> Result<Vec<Vec<u32>>, Error> {
        let (rank, ranks) = (self.talk.rank(), self.talk.ranks());
        let mut reduced = vec![];
        for (bucket, words) in self.buckets.iter().zip(on_their_way) {
            let mut came = self.talk.finish(words)?;
            let (sum, others) =
                bytemuck::cast_slice_mut::<u32, f32>(&mut came).split_at_mut(bucket.counts[rank] as usize);
            for from in others.chunks(sum.len().max(1)) {
                sum.iter_mut().zip(from).for_each(|(sum, value)| *sum += value);
            }
            if self.sharding.reduction == Reduction::Mean && ranks > 1 {
                sum.iter_mut().for_each(|sum| *sum /= ranks as f32);
            }
            reduced.push(came);
        }
        Ok(reduced)
    }

    /// One step of the share, in as many stages as it has.
    fn update(&mut self) -> Result<(), Error> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        if self.zero_grad {
            let rank = self.talk.rank();
            let others = self.pieces.iter().zip(&self.places).filter(|(piece, _)| piece.owner != rank);
            for (piece, [_, grad]) in others.filter(|(piece, _)| piece.len > 0) {
                encoder.clear_buffer(&grad.buffer, grad.offset, Some(4 * piece.len as u64));
            }
        }
        let step = self.optimizer.prepare_part(&mut encoder)?;
        for stage in 0..=self.exchanges.len() {
            step.encode(stage, &mut encoder.begin_compute_pass(&Default::default()));
            let exchange = step.exchange(stage);
            let own = exchange.filter(|(own, _)| own.size() > 0).map(|(own, _)| {
                let words = self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("wgpu-optim-mpi: terms on the way down"),
                    size: own.size(),
                    usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
                    mapped_at_creation: false,
                });
                encoder.copy_buffer_to_buffer(own.buffer(), own.offset(), &words, 0, own.size());
                words
            });
            let next = self.device.create_command_encoder(&Default::default());
            let submitted = self.queue.submit([std::mem::replace(&mut encoder, next).finish()]);
            let Some(terms) = self.exchanges.get(stage) else { break };
            let words = match &own {
                Some(own) => read((&self.device, &self.talk), own, submitted, own.size() as usize / 4)?,
                None => vec![],
            };
            let came = self.talk.finish(self.talk.to_all(words, &terms.counts, "terms of norms"))?;
            if let Some((_, all)) = exchange {
                let ordered = terms.in_order(&came);
                self.queue.write_buffer(all.buffer(), all.offset(), bytemuck::cast_slice(&ordered));
            }
            self.talk.give_back(came);
        }
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(lost)?;
        Ok(())
    }

    /// Gives everybody the parameters that each rank updates.
    pub(crate) fn gather(&mut self, only: Option<usize>) -> Result<(), Error> {
        let (rank, start) = (self.talk.rank(), Instant::now());
        let mut upload = Duration::ZERO;
        let from = |piece: &Piece| only.unwrap_or(piece.owner);
        let mut on_its_way: Option<(usize, OnItsWay)> = None;
        for index in 0..=self.buckets.len() {
            let sent = match self.buckets.get(index) {
                None => None,
                Some(bucket) => {
                    let submitted = self.bring_down(index, bucket, 0, |piece| from(piece) == rank);
                    let mut counts = vec![0; self.talk.ranks()];
                    for piece in bucket.pieces.iter().map(|index| &self.pieces[*index]) {
                        counts[from(piece)] += piece.len as i32;
                    }
                    let words = self.arrived(index, Some(submitted), counts[rank] as usize)?;
                    Some((index, self.talk.to_all(words, &counts, "parameters")))
                }
            };
            // Parameters go up while the next bucket is on its way.
            if let Some((index, bucket)) = std::mem::replace(&mut on_its_way, sent) {
                let came = self.talk.finish(bucket)?;
                let up = Instant::now();
                let mut at = 0;
                // By owner, as pieces are in a bucket; from one rank in that order too.
                for index in &self.buckets[index].pieces {
                    let piece = &self.pieces[*index];
                    let [param, _] = &self.places[*index];
                    let values = &came[at..at + piece.len];
                    if from(piece) != rank {
                        self.queue.write_buffer(&param.buffer, param.offset, bytemuck::cast_slice(values));
                    }
                    at += piece.len;
                }
                self.talk.give_back(came);
                upload += up.elapsed();
            }
        }
        let up = Instant::now();
        self.queue.submit([]);
        self.timings.upload = upload + up.elapsed();
        self.timings.gather = start.elapsed().saturating_sub(self.timings.upload);
        Ok(())
    }

    /// Writes some rows of a tensor's parameters.
    pub(crate) fn write_rows(&self, tensor: usize, rows: &Range<usize>, words: &[u32]) -> Result<(), Error> {
        let whole = &self.model[tensor];
        let (first, len) = (rows.start * whole.width(), rows.len() * whole.width());
        if rows.end > whole.rows() || words.len() != len {
            let reason = format!("'param/{}' has {} words for rows {rows:?}", whole.name, words.len());
            return Err(wgpu_optim::Error::State { reason }.into());
        }
        let id = self.params.find(&whole.name).ok_or(wgpu_optim::Error::UnknownHandle {
            what: "tensor",
            index: tensor,
            count: self.model.len(),
        })?;
        let slice = self.params.param(id)?;
        let offset = slice.offset() + 4 * first as u64;
        self.queue.write_buffer(slice.buffer(), offset, bytemuck::cast_slice(words));
        Ok(())
    }

    /// What was written takes effect.
    pub(crate) fn submit(&self) {
        self.queue.submit([]);
    }

    /// Rank 0's parameters to all: a run starts from one model.
    fn gather_from_first(&mut self) -> Result<(), Error> {
        self.gather(Some(0))?;
        self.timings = Timings::default();
        Ok(())
    }

    /// Records and submits the copies of a bucket's pieces, parameters (0) or gradients (1), to its staging buffer.
    fn bring_down(
        &self,
        index: usize,
        bucket: &Bucket,
        role: usize,
        wanted: impl Fn(&Piece) -> bool,
    ) -> wgpu::SubmissionIndex {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut at = 0;
        for index_of_piece in bucket.pieces.iter().filter(|piece| wanted(&self.pieces[**piece])) {
            let (place, size) =
                (&self.places[*index_of_piece][role], 4 * self.pieces[*index_of_piece].len as u64);
            encoder.copy_buffer_to_buffer(&place.buffer, place.offset, &self.staging[index % 2], at, size);
            at += size;
        }
        self.queue.submit([encoder.finish()])
    }

    /// The words of a bucket that was brought down.
    fn arrived(
        &self,
        index: usize,
        submitted: Option<wgpu::SubmissionIndex>,
        words: usize,
    ) -> Result<Vec<u32>, Error> {
        match submitted {
            Some(submitted) if words > 0 => {
                read((&self.device, &self.talk), &self.staging[index % 2], submitted, words)
            }
            _ => Ok(vec![]),
        }
    }
}

/// The first words of a buffer that can be mapped, once a submission is done.
fn read(
    (device, talk): (&wgpu::Device, &Talk),
    buffer: &wgpu::Buffer,
    submitted: wgpu::SubmissionIndex,
    len: usize,
) -> Result<Vec<u32>, Error> {
    let slice = buffer.slice(..4 * len as u64);
    slice.map_async(wgpu::MapMode::Read, |_| ());
    let wait = wgpu::PollType::Wait { submission_index: Some(submitted), timeout: None };
    device.poll(wait).map_err(lost)?;
    let view = slice.get_mapped_range().map_err(lost)?;
    let mut words = talk.take(len);
    words.copy_from_slice(bytemuck::cast_slice(&view));
    drop(view);
    buffer.unmap();
    Ok(words)
}

fn lost(error: impl std::fmt::Display) -> Error {
    wgpu_optim::Error::DeviceLost { reason: error.to_string() }.into()
}
