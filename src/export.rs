//! The modules of a program in the languages of other APIs: SPIR-V, MSL, HLSL and GLSL, by naga.
//!
//! ```
//! use wgpu_optim::{Description, export::{Language, translate}, program::Limits};
//! let described = Description::from_json(
//!     r#"{"optimizer": "adamw", "tensors": [{"name": "w", "shape": [784, 10]}]}"#,
//!     &Limits::default(),
//! )?;
//! let code = translate(&described.program, 0, Language::Hlsl)?;
//! assert!(std::str::from_utf8(&code.bytes).is_ok_and(|text| text.contains("numthreads(128, 1, 1)")));
//! assert_eq!(code.resources[3].at, "b3");
//! # Ok::<(), wgpu_optim::Error>(())
//! ```
//!
//! A compiler must not take liberties with floating point that WGSL does not give it: compile MSL with fast math off, HLSL
//! with IEEE strictness (`/Gis`). Accesses are not checked against the length of what is bound. Workgroup memory is not made
//! zero first: every word is written before it is read.

use crate::error::Error;
use crate::program::{Binding, Module, Program};
use crate::state::{GATHER_LAYOUT, Gather};
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::BoundsCheckPolicies;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{ResourceBinding, ShaderStage};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A shading language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// WGSL, as the program has it: WebGPU.
    Wgsl,
    /// SPIR-V 1.0: Vulkan 1.0 and later. Bindings are those of descriptor set 0.
    Spirv,
    /// Metal Shading Language 2.0: Metal. Binding i is buffer i; behind them is the buffer of [`Code::lengths`].
    Msl,
    /// HLSL for shader model 5.1: DX12. Binding i is register i of its kind; behind them is [`Code::workgroups`].
    Hlsl,
    /// GLSL ES 3.10: OpenGL ES 3.1 and OpenGL 4.5. Binding i is binding i of its kind.
    Glsl,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Wgsl, Self::Spirv, Self::Msl, Self::Hlsl, Self::Glsl];

    /// Its name, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wgsl => "wgsl",
            Self::Spirv => "spirv",
            Self::Msl => "msl",
            Self::Hlsl => "hlsl",
            Self::Glsl => "glsl",
        }
    }

    /// What the name of a file of it ends on.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Wgsl => "wgsl",
            Self::Spirv => "spv",
            Self::Msl => "metal",
            Self::Hlsl => "hlsl",
            Self::Glsl => "comp",
        }
    }
}

impl FromStr for Language {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|language| language.name() == name)
            .ok_or_else(|| Error::UnknownLanguage { name: name.into(), known: known() })
    }
}

/// A module in some language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// UTF-8, or the words of SPIR-V in little-endian order.
    pub bytes: Vec<u8>,
    /// The name of its entry point there.
    pub entry_point: String,
    /// What is bound, in the order of the layout.
    pub resources: Vec<Resource>,
    /// Of MSL: the index of a constant buffer of one `uint` for each of these bindings, the bytes that are bound there.
    pub lengths: Option<(u32, Vec<u32>)>,
    /// Of HLSL: the register `b` of a constant buffer of three `uint`, the workgroups of the dispatch in x, y and z (root
    /// constants will do).
    pub workgroups: Option<u32>,
}

impl Code {
    /// A hash of its bytes: equal on every host.
    pub fn hash(&self) -> u64 {
        crate::program::hash_of(&self.bytes)
    }
}

/// What is bound at one binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its binding in the program.
    pub binding: u32,
    /// What it is.
    pub kind: Binding,
    /// Where it is in this language: `set 0, binding 1`; `buffer(1)`; `u1`, `t2` or `b3`.
    pub at: String,
}

/// Translates a module of a program.
///
/// # Errors
/// [`Error::UnknownHandle`] for a module that is not there; [`Error::Translation`] for a text of the caller's
/// ([`Options::wgsl`](crate::Options::wgsl)) that the translator refuses.
pub fn translate(program: &Program, module: usize, language: Language) -> Result<Code, Error> {
    let count = program.modules.len();
    let unknown = Error::UnknownHandle { what: "module", index: module, count };
    let text = program.modules.get(module).ok_or(unknown)?;
    code_of(text, &program.layouts[text.layout as usize], language)
}

/// Translates the module of a dispatch that moves rows, which binds what [`GATHER_LAYOUT`] says.
///
/// # Errors
/// [`Error::Translation`].
pub fn translate_gather(gather: &Gather, language: Language) -> Result<Code, Error> {
    code_of(&gather.module(), &GATHER_LAYOUT, language)
}

fn code_of(text: &Module, layout: &[Binding], language: Language) -> Result<Code, Error> {
    let refused =
        |reason: String| Error::Translation { module: text.label.clone(), language: language.name(), reason };
    let resources = (0..).zip(layout).map(|(binding, kind)| resource(binding, *kind, language)).collect();
    let mut code = Code {
        bytes: vec![],
        entry_point: text.entry_point.clone(),
        resources,
        lengths: None,
        workgroups: None,
    };
    if language == Language::Wgsl {
        code.bytes = text.wgsl.clone().into_bytes();
        return Ok(code);
    }
    let parsed = naga::front::wgsl::parse_str(&text.wgsl)
        .map_err(|error| refused(error.emit_to_string(&text.wgsl)))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&parsed)
        .map_err(|error| refused(error.emit_to_string(&text.wgsl)))?;
    let source = Source { module: &parsed, info: &info, layout, entry_point: &text.entry_point };
    let written = match language {
        Language::Wgsl => Ok(()),
        Language::Spirv => source.spirv(&mut code),
        Language::Glsl => source.glsl(&mut code),
        Language::Msl => source.msl(&mut code),
        Language::Hlsl => source.hlsl(&mut code),
    };
    written.map_err(refused)?;
    Ok(code)
}

fn resource(binding: u32, kind: Binding, language: Language) -> Resource {
    let at = match (language, kind) {
        (Language::Wgsl, _) => format!("group 0, binding {binding}"),
        (Language::Spirv, _) => format!("set 0, binding {binding}"),
        (Language::Msl, _) => format!("buffer({binding})"),
        (Language::Hlsl, Binding::ReadOnly) => format!("t{binding}"),
        (Language::Hlsl, Binding::ReadWrite) => format!("u{binding}"),
        (Language::Hlsl, Binding::Record) => format!("b{binding}"),
        (Language::Glsl, Binding::Record) => format!("uniform binding {binding}"),
        (Language::Glsl, _) => format!("buffer binding {binding}"),
    };
    Resource { binding, kind, at }
}

/// A module as naga reads it, and what is bound.
struct Source<'a> {
    module: &'a naga::Module,
    info: &'a ModuleInfo,
    layout: &'a [Binding],
    entry_point: &'a str,
}

impl Source<'_> {
    /// Each binding, and what a language makes of its number.
    fn bindings<T>(&self, target: impl Fn(u32, Binding) -> T) -> impl Iterator<Item = (ResourceBinding, T)> {
        let each = move |(binding, kind): (u32, &Binding)| {
            (ResourceBinding { group: 0, binding }, target(binding, *kind))
        };
        (0..).zip(self.layout).map(each)
    }

    fn spirv(&self, code: &mut Code) -> Result<(), String> {
        // The bindings are those of the text. Its loops end, and are bounded all the same, as wgpu does it: without that, a
        // step takes 1.08 times as long on lavapipe, whose compiler makes something else of them.
        let options = spv::Options {
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            ..spv::Options::default()
        };
        let pipeline =
            spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: self.entry_point.into() };
        let words = spv::write_vec(self.module, self.info, &options, Some(&pipeline))
            .map_err(|error| error.to_string())?;
        code.bytes = words.into_iter().flat_map(u32::to_le_bytes).collect();
        Ok(())
    }

    fn glsl(&self, code: &mut Code) -> Result<(), String> {
        let binding_map = self.bindings(|binding, _| binding as u8).collect();
        let options = glsl::Options {
            binding_map,
            zero_initialize_workgroup_memory: false,
            ..glsl::Options::default()
        };
        let pipeline = glsl::PipelineOptions {
            shader_stage: ShaderStage::Compute,
            entry_point: self.entry_point.into(),
            multiview: None,
        };
        let mut text = String::new();
        let policies = BoundsCheckPolicies::default();
        glsl::Writer::new(&mut text, self.module, self.info, &options, &pipeline, policies)
            .and_then(|mut writer| writer.write())
            .map_err(|error| error.to_string())?;
        (code.bytes, code.entry_point) = (text.into_bytes(), "main".into());
        Ok(())
    }

    fn msl(&self, code: &mut Code) -> Result<(), String> {
        let target = |binding, kind| msl::BindTarget {
            buffer: Some(binding as u8),
            mutable: kind == Binding::ReadWrite,
            ..msl::BindTarget::default()
        };
        let lengths = self.layout.len() as u32;
        let resources = msl::EntryPointResources {
            resources: self.bindings(target).collect(),
            immediates_buffer: None,
            sizes_buffer: Some(lengths as u8),
        };
        let options = msl::Options {
            lang_version: (2, 0),
            per_entry_point_map: [(self.entry_point.to_string(), resources)].into_iter().collect(),
            fake_missing_bindings: false,
            force_loop_bounding: false,
            zero_initialize_workgroup_memory: false,
            ..msl::Options::default()
        };
        let (text, made) = msl::write_string(self.module, self.info, &options, &Default::default())
            .map_err(|error| error.to_string())?;
        let runtime_sized = self.module.global_variables.iter().filter(|(_, variable)| {
            self.module.types[variable.ty].inner.needs_host_buffer_byte_size(&self.module.types)
        });
        let measured =
            runtime_sized.filter_map(|(_, variable)| Some(variable.binding.as_ref()?.binding)).collect();
        (code.bytes, code.entry_point) = (text.into_bytes(), first_name(made.entry_point_names)?);
        code.lengths = Some((lengths, measured));
        Ok(())
    }

    fn hlsl(&self, code: &mut Code) -> Result<(), String> {
        let target = |register| hlsl::BindTarget { register, ..hlsl::BindTarget::default() };
        let options = hlsl::Options {
            binding_map: self.bindings(|binding, _| target(binding)).collect(),
            fake_missing_bindings: false,
            special_constants_binding: Some(target(self.layout.len() as u32)),
            restrict_indexing: false,
            force_loop_bounding: false,
            zero_initialize_workgroup_memory: false,
            ..hlsl::Options::default()
        };
        let (mut text, pipeline) = (String::new(), hlsl::PipelineOptions::default());
        let made = hlsl::Writer::new(&mut text, &options, &pipeline)
            .write(self.module, self.info, None)
            .map_err(|error| error.to_string())?;
        (code.bytes, code.entry_point) = (text.into_bytes(), first_name(made.entry_point_names)?);
        code.workgroups = Some(self.layout.len() as u32);
        Ok(())
    }
}

/// The name of the one entry point.
fn first_name<E: std::fmt::Display>(names: Vec<Result<String, E>>) -> Result<String, String> {
    let first = names.into_iter().next().ok_or("no entry point")?;
    first.map_err(|error| error.to_string())
}
