//! A detector written in WASM text, of which a test replaces single parts: what no compiler would make.

use wit_parser::Resolve;

use crate::build::CONTRACT;

/// End of the guest's memory of 100 pages.
pub(crate) const MEMORY_END: u32 = 100 * 0x1_0000;
/// Where tests put what they answer with; all around is zero, and zeros are an empty outcome.
pub(crate) const ANSWER: u32 = 0x1000;
/// Zeros that no test replaces.
const NOTHING: u32 = 0x800;

/// The parts of the guest that tests replace, as WASM text.
pub(crate) struct TextGuest {
    pub(crate) contract: String,
    pub(crate) pages: u32,
    /// Imports and definitions besides.
    pub(crate) besides: String,
    pub(crate) observe: String,
    pub(crate) status: String,
    pub(crate) save: String,
    pub(crate) load: String,
    pub(crate) realloc: String,
    /// Words of 32 bits and where they lie.
    pub(crate) words: Vec<(u32, Vec<u32>)>,
}

impl Default for TextGuest {
    fn default() -> Self {
        let answer = format!("i32.const {ANSWER}");
        Self {
            contract: CONTRACT.into(),
            pages: 100,
            besides: String::new(),
            observe: answer.clone(),
            status: answer.clone(),
            save: answer.clone(),
            load: answer,
            realloc: "i32.const 0x600000".into(),
            words: Vec::new(),
        }
    }
}

impl TextGuest {
    /// The core module with the contract in its custom section.
    pub(crate) fn wasm(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("detector.wit", &self.contract).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut wasm = wat::parse_str(self.text()).unwrap();
        let encoding = wit_component::StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut wasm, &resolve, world, encoding, false)
            .unwrap();
        wasm
    }

    fn text(&self) -> String {
        let (_, version) = self
            .contract
            .split_once("package petrel:detector@")
            .unwrap();
        let (version, _) = version.split_once(';').unwrap();
        let export = |name: &str| format!("(export \"petrel:detector/detector@{version}#{name}\")");
        let one = 1.0_f64.to_bits() >> 32;
        let words: String = [
            // The descriptor: name, version, summary, schema, state version.
            (0x200, vec![0x100, 4, 0x108, 5, 0x100, 4, 0x110, 2, 1]),
            // The plan: no columns, a kind, a minute in nanoseconds.
            (0x308, vec![0, 0, 0x400, 1, 0xf847_5800, 0xd]),
            // The kind: name, no unit, and a floor-ratio of 1.0.
            (0x400, vec![0x118, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, one as u32]),
        ]
        .iter()
        .chain(&self.words)
        .map(|(at, words)| {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            let escaped: String = bytes.map(|byte| format!("\\{byte:02x}")).collect();
            format!("(data (i32.const {at}) \"{escaped}\")\n")
        })
        .collect();
        format!(
            r#"(module {besides}
                (memory (export "memory") {pages})
                (data (i32.const 0x100) "text\00\00\00\000.1.0\00\00\00{{}}\00\00\00\00\00\00oddity")
                {words}
                (func {describe} (result i32) i32.const 0x200)
                (func {configure} (param i32 i32) (result i32) i32.const 0x300)
                (func $observe {observe} (param i32 i32 i32 i32 i32 i32 i32) (result i32) {on_observe})
                (func {advance} (param i32 i32) (result i32) i32.const {NOTHING})
                (func {status} (param i32) (result i32) {on_status})
                (func {save} (param i32) (result i32) {on_save})
                (func {load} (param i32 i32 i32 i32) (result i32) {on_load})
                (func {forget} (param i32))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc}))"#,
            besides = self.besides,
            pages = self.pages,
            describe = export("describe"),
            configure = export("configure"),
            observe = export("observe"),
            advance = export("advance"),
            status = export("status"),
            save = export("save"),
            load = export("load"),
            forget = export("forget"),
            on_observe = self.observe,
            on_status = self.status,
            on_save = self.save,
            on_load = self.load,
            realloc = self.realloc,
        )
    }
}
