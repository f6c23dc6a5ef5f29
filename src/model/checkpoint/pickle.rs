//! The pickle machine: protocols 2 to 5, as CPython's `pickletools` documents the opcodes.
//!
//! It builds inert values and calls nothing. The text opcodes of protocols 0 and 1 are refused.

use super::value::{Arena, Id, Object, Value};
use super::{CheckpointError, Limits};

/// The opcode that every supported pickle begins with.
pub const PROTO: u8 = 0x80;

/// One pickle, read.
#[derive(Debug)]
pub struct Pickle<'a> {
    /// Every value that the pickle built.
    pub arena: Arena<'a>,
    /// The pickled object.
    pub root: Id,
    /// Where the pickle ends in the bytes.
    pub end: usize,
    /// The memory that the values take, by the machine's own account.
    #[cfg(test)]
    pub value_bytes: u64,
}

/// Reads the pickle at the start of `bytes`.
pub fn read<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Pickle<'a>, CheckpointError> {
    let mut machine = Machine {
        bytes,
        at: 0,
        opcode_at: 0,
        limits,
        arena: Arena::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: std::collections::HashMap::new(),
        value_bytes: 0,
    };
    let root = machine.run()?;
    Ok(Pickle {
        arena: machine.arena,
        root,
        end: machine.at,
        #[cfg(test)]
        value_bytes: machine.value_bytes,
    })
}

struct Machine<'a, 'l> {
    bytes: &'a [u8],
    at: usize,
    opcode_at: usize,
    limits: &'l Limits,
    arena: Arena<'a>,
    stack: Vec<Id>,
    /// The heights of the stack at which a MARK stands.
    marks: Vec<usize>,
    /// A map, not a vector: the file chooses the indices.
    memo: std::collections::HashMap<u32, Id>,
    /// The memory that the values take, so that it can be bounded.
    value_bytes: u64,
}

type Step<T = ()> = Result<T, CheckpointError>;

impl<'a> Machine<'a, '_> {
    fn run(&mut self) -> Step<Id> {
        if self.bytes.first() != Some(&PROTO) {
            return Err(CheckpointError::Protocol { found: "0 or 1".to_owned() });
        }
        for _ in 0..self.limits.opcodes_max {
            self.opcode_at = self.at;
            let [opcode] = self.take()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.execute(opcode)?;
        }
        let max = self.limits.opcodes_max;
        Err(CheckpointError::Limit { what: "the number of opcodes".to_owned(), bound: "opcodes_max", max })
    }

    fn execute(&mut self, opcode: u8) -> Step {
        match opcode {
            PROTO => self.protocol(),
            // FRAME: a hint for buffered readers.
            0x95 => self.take::<8>().map(drop),
            b'(' => self.mark(),
            b'0' => self.discard(),
            b'1' => self.pop_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.push_id(top)
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' | b'K' | b'M' | 0x8a | 0x8b | b'G' => self.number(opcode),
            b'X' | 0x8c | 0x8d | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 => self.text(opcode),
            b')' | b't' | 0x85..=0x87 => self.tuple(opcode),
            b']' | 0x8f => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend(items)
            }
            0x91 => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.store(&[key, value])
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.store(&items)
            }
            b'c' | 0x93 => self.global(opcode),
            b'R' | 0x81 | 0x92 => self.call(opcode),
            b'b' => self.build(),
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))
            }
            b'q' | b'r' | 0x94 => self.remember(opcode),
            b'h' | b'j' => self.recall(opcode),
            _ => Err(self.refuse(unsupported(opcode))),
        }
    }

    fn protocol(&mut self) -> Step {
        match self.take()? {
            // torch.save writes 2 unless it is told otherwise, and 5 is the newest that CPython has. 0 and 1
            // PyTorch has not written for a decade.
            [2..=5] => Ok(()),
            [found] => Err(CheckpointError::Protocol { found: found.to_string() }),
        }
    }

    fn number(&mut self, opcode: u8) -> Step {
        let value = match opcode {
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.take()?))),
            b'K' => Value::Int(i64::from(u8::from_le_bytes(self.take()?))),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.take()?))),
            b'G' => {
                self.take::<8>()?;
                Value::Float
            }
            _ => {
                let length = if opcode == 0x8a {
                    u64::from(u8::from_le_bytes(self.take()?))
                } else {
                    u64::from(u32::from_le_bytes(self.take()?))
                };
                let bytes = self.slice(length)?;
                integer(bytes).map_or(Value::BigInt(bytes), Value::Int)
            }
        };
        self.push(value)
    }

    fn text(&mut self, opcode: u8) -> Step {
        let length = match opcode {
            0x8c | b'U' | b'C' => u64::from(u8::from_le_bytes(self.take()?)),
            b'X' | b'T' | b'B' => u64::from(u32::from_le_bytes(self.take()?)),
            _ => u64::from_le_bytes(self.take()?),
        };
        let bytes = self.slice(length)?;
        let value = match opcode {
            b'X' | 0x8c | 0x8d => {
                let text = std::str::from_utf8(bytes).map_err(|_| self.refuse("a text is not UTF-8"))?;
                Value::Str(text)
            }
            // What Python 2 wrote: text or bytes, nobody knows.
            b'T' | b'U' => std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Str),
            _ => Value::Bytes(bytes),
        };
        self.push(value)
    }

    fn tuple(&mut self, opcode: u8) -> Step {
        let elements = match opcode {
            b')' => Vec::new(),
            b't' => self.pop_mark()?,
            _ => {
                let count = usize::from(opcode - 0x84);
                let base = self.floor();
                match self.stack.len().checked_sub(count) {
                    Some(from) if from >= base => self.stack.split_off(from),
                    _ => return Err(self.refuse("the stack is too short")),
                }
            }
        };
        self.push(Value::Tuple(elements))
    }

    fn extend(&mut self, items: Vec<Id>) -> Step {
        let target = self.top()?;
        self.charge(items.len() * size_of::<Id>())?;
        match self.arena.get_mut(target) {
            Value::List(list) => list.extend(items),
            Value::Object(object) => object.items.extend(items),
            _ => return Err(self.refuse("something is appended to what is no list")),
        }
        Ok(())
    }

    fn store(&mut self, items: &[Id]) -> Step {
        let (pairs, odd) = items.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(self.refuse("a key has no value"));
        }
        let target = self.top()?;
        self.charge(size_of_val(items))?;
        let pairs = pairs.iter().map(|&[key, value]| (key, value));
        match self.arena.get_mut(target) {
            Value::Dict(entries) => entries.extend(pairs),
            Value::Object(object) => object.entries.extend(pairs),
            _ => return Err(self.refuse("something is stored by key in what is no dict")),
        }
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Step {
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (self.arena.get(module), self.arena.get(name)) {
                (Value::Str(module), Value::Str(name)) => (*module, *name),
                _ => return Err(self.refuse("a class is not named by texts")),
            }
        };
        // CPython imports here, which already runs code of the file's choice (that is what makes a pickle
        // dangerous).
        self.push(Value::Global { module, name })
    }

    /// REDUCE, NEWOBJ, NEWOBJ_EX: the call is noted, and never made. Only dicts become what they are.
    fn call(&mut self, opcode: u8) -> Step {
        if opcode == 0x92 {
            // Keyword arguments; nothing that holds tensors is built by them.
            self.pop()?;
        }
        let (args, callee) = (self.pop()?, self.pop()?);
        if let Some(("collections", "OrderedDict") | ("builtins" | "__builtin__", "dict")) =
            self.arena.global(callee)
            // A state dict is an OrderedDict, and pickled as a call of that class. These two are known to do
            // nothing but hold.
            && let Some(entries) = self.dict_of(args)
        {
            // Charged as the copy that it is: at a few bytes of the file each, a dict may be made of a large
            // one again and again.
            self.charge(entries.len() * size_of::<(Id, Id)>())?;
            return self.push(Value::Dict(entries));
        }
        self.charge(size_of::<Object>())?;
        let object = Object { callee, args, state: None, items: Vec::new(), entries: Vec::new() };
        self.push(Value::Object(Box::new(object)))
    }

    /// The entries of a dict that is made of nothing, of another dict, or of a list of
    /// pairs, which is how Python 2 pickled an `OrderedDict`.
    fn dict_of(&self, args: Id) -> Option<Vec<(Id, Id)>> {
        match self.arena.elements(args)? {
            [] => Some(Vec::new()),
            &[of] => match self.arena.get(of) {
                Value::Dict(entries) => Some(entries.clone()),
                Value::List(pairs) | Value::Tuple(pairs) => {
                    pairs.iter().map(|&pair| self.pair(pair)).collect()
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn pair(&self, id: Id) -> Option<(Id, Id)> {
        match self.arena.elements(id)? {
            &[key, value] => Some((key, value)),
            _ => None,
        }
    }

    fn build(&mut self) -> Step {
        let state = self.pop()?;
        let target = self.top()?;
        // A dict's attributes, such as a state dict's `_metadata`, are nothing to us; neither are a list's.
        if let Value::Object(object) = self.arena.get_mut(target) {
            object.state = Some(state);
        }
        Ok(())
    }

    fn remember(&mut self, opcode: u8) -> Step {
        let index = match opcode {
            b'q' => u32::from(u8::from_le_bytes(self.take()?)),
            b'r' => u32::from_le_bytes(self.take()?),
            _ => u32::try_from(self.memo.len()).map_err(|_| self.refuse("the memo is full"))?,
        };
        let top = self.top()?;
        if self.memo.insert(index, top).is_none() {
            // A map's entry, with the room that it keeps free.
            self.charge(2 * size_of::<(u32, Id)>() + 2)?;
        }
        let entries = self.memo.len() as u64;
        Ok(self.limits.check("the memo", "memo_entries_max", entries, self.limits.memo_entries_max)?)
    }

    fn recall(&mut self, opcode: u8) -> Step {
        let index = match opcode {
            b'h' => u32::from(u8::from_le_bytes(self.take()?)),
            _ => u32::from_le_bytes(self.take()?),
        };
        match self.memo.get(&index) {
            Some(&id) => self.push_id(id),
            None => Err(self.refuse(format!("nothing was remembered as {index}"))),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Step {
        let contents = match &value {
            Value::Tuple(elements) | Value::List(elements) => elements.len() * size_of::<Id>(),
            _ => 0,
        };
        self.charge(size_of::<Value<'_>>() + contents)?;
        let id = self.arena.add(value);
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Step {
        self.stack.push(id);
        let depth = self.stack.len() as u64;
        Ok(self.limits.check("the stack", "stack_depth_max", depth, self.limits.stack_depth_max)?)
    }

    fn mark(&mut self) -> Step {
        self.marks.push(self.stack.len());
        let depth = self.marks.len() as u64;
        Ok(self.limits.check("the stack of marks", "stack_depth_max", depth, self.limits.stack_depth_max)?)
    }

    /// The height below which the stack belongs to an enclosing mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Step<Id> {
        match self.stack.last() {
            Some(&top) if self.stack.len() > self.floor() => Ok(top),
            _ => Err(self.refuse("the stack is too short")),
        }
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// POP: takes the mark when that is what lies on top.
    fn discard(&mut self) -> Step {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.refuse("there is no mark on the stack")),
        }
    }

    fn charge(&mut self, bytes: usize) -> Step {
        self.value_bytes += bytes as u64;
        let max = self.limits.value_bytes_max;
        Ok(self.limits.check("the memory for values", "value_bytes_max", self.value_bytes, max)?)
    }

    fn take<const N: usize>(&mut self) -> Step<[u8; N]> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.refuse("the pickle ends in the middle")),
        }
    }

    fn slice(&mut self, length: u64) -> Step<&'a [u8]> {
        self.limits.check("a string", "string_bytes_max", length, self.limits.string_bytes_max)?;
        let length = usize::try_from(length).map_err(|_| self.refuse("a string is too long"))?;
        match self.bytes[self.at..].get(..length) {
            Some(slice) => {
                self.at += length;
                Ok(slice)
            }
            None => Err(self.refuse(format!("a string of {length} bytes goes beyond the end"))),
        }
    }

    /// A name of GLOBAL: the bytes up to the next line feed.
    fn line(&mut self) -> Step<&'a str> {
        const LINE_BYTES_MAX: usize = 4_096;
        let rest = &self.bytes[self.at..];
        let window = &rest[..rest.len().min(LINE_BYTES_MAX)];
        let Some(length) = window.iter().position(|&byte| byte == b'\n') else {
            return Err(self.refuse(format!("a name has no end within {LINE_BYTES_MAX} bytes")));
        };
        self.at += length + 1;
        std::str::from_utf8(&window[..length]).map_err(|_| self.refuse("a name is not UTF-8"))
    }

    fn refuse(&self, problem: impl Into<String>) -> CheckpointError {
        CheckpointError::Pickle { at: self.opcode_at, problem: problem.into() }
    }
}

/// A little-endian two's complement number, when 64 bits hold it.
fn integer(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut word = [if negative { 0xff } else { 0 }; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    Some(i64::from_le_bytes(word))
}

fn unsupported(opcode: u8) -> String {
    match opcode {
        b'I' | b'L' | b'F' | b'S' | b'V' | b'g' | b'p' | b'P' | b'i' | b'o' | b'd' | b'l' => {
            format!("opcode {:?} of protocol 0 or 1, expected protocols 2 to 5", char::from(opcode))
        }
        0x82..=0x84 => "an extension code, which only its author's Python knows".to_owned(),
        0x97 | 0x98 => "a buffer outside of the file".to_owned(),
        _ => format!("unknown opcode {opcode:#04x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(bytes: &[u8]) -> String {
        match read(bytes, &Limits::default()) {
            Ok(pickle) => pickle.arena.describe(pickle.root),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn integers_of_every_width_are_read() {
        assert_eq!(integer(&[]), Some(0));
        assert_eq!(integer(&[0xff]), Some(-1));
        assert_eq!(integer(&[0, 2]), Some(512));
        assert_eq!(integer(&i64::MIN.to_le_bytes()), Some(i64::MIN));
        assert_eq!(integer(&[1; 9]), None);
    }

    #[test]
    fn calls_are_noted_and_not_made() {
        assert_eq!(
            root(b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."),
            "an object of posix.system (not called)"
        );
    }

    #[test]
    fn a_dict_of_pairs_is_one_and_what_is_no_list_of_pairs_is_a_note() {
        let dict =
            |class: &[u8], argument: &[u8]| root(&[b"\x80\x02c", class, b"\n", argument, b"\x85R."].concat());
        for class in [&b"collections\nOrderedDict"[..], b"__builtin__\ndict", b"builtins\ndict"] {
            // As Python 2 wrote them: lists of lists, with texts of either kind; and tuples.
            assert_eq!(dict(class, b"](](U\x01aK\x01e](X\x01\0\0\0bK\x02ee"), "a dict with keys a, b");
            assert_eq!(dict(class, b"](U\x01aK\x01\x86e"), "a dict with keys a");
            assert_eq!(dict(class, b"}U\x01aK\x01s"), "a dict with keys a");
            assert_eq!(dict(class, b"]"), "an empty dict");
            for no_pairs in [&b"](K\x01e"[..], b"](](K\x01ee", b"](](K\x01K\x02K\x03ee", b"N", b"K\x05"] {
                assert!(dict(class, no_pairs).ends_with("(not called)"));
            }
        }
    }

    #[test]
    fn copies_of_one_dict_over_and_over_reach_the_bound() {
        let once: &[u8] = b"cbuiltins\ndict\nh\0\x85R";
        let entries = b"N".repeat(2_000);
        let bytes = [b"\x80\x02}(", entries.as_slice(), b"uq\0", &once.repeat(5_000), b"."].concat();
        let small = Limits { value_bytes_max: 1 << 20, ..Limits::default() };
        assert!(read(&bytes, &small).unwrap_err().to_string().contains("value_bytes_max"));
    }

    #[test]
    fn old_and_unknown_protocols_are_refused_by_name() {
        assert!(root(b"(dp0\n.").starts_with("pickle protocol 0 or 1 is not supported"));
        assert!(root(b"\x80\x06N.").starts_with("pickle protocol 6 is not supported"));
        assert_eq!(
            root(b"\x80\x02I1\n."),
            "pickle, byte 2: opcode 'I' of protocol 0 or 1, expected protocols 2 to 5"
        );
    }

    #[test]
    fn a_mark_protects_what_lies_below_it() {
        assert_eq!(root(b"\x80\x02N(0."), "None", "POP takes the mark itself");
        assert_eq!(root(b"\x80\x02N(."), "pickle, byte 4: the stack is too short");
        assert_eq!(root(b"\x80\x02NN(\x86."), "pickle, byte 5: the stack is too short");
        assert_eq!(root(b"\x80\x02]."), "a list of 0");
        assert_eq!(root(b"\x80\x02](NNe."), "a list of 2");
    }

    #[test]
    fn every_bound_is_named() {
        let limits = Limits {
            opcodes_max: 50,
            memo_entries_max: 2,
            stack_depth_max: 4,
            string_bytes_max: 3,
            ..Limits::default()
        };
        let cases: [(&[u8], &str); 5] = [
            (&b"\x80\x02N0N0N0N0N0N0N0N0N0N0N0N0N0N0N0N0N0N0N0N0N0N0N0N0N0N0N."[..], "opcodes_max"),
            (b"\x80\x02Nq\x00q\x01q\x02.", "memo_entries_max"),
            (b"\x80\x02NNNNN.", "stack_depth_max"),
            (b"\x80\x02(((((.", "stack_depth_max"),
            (b"\x80\x02X\x04\x00\x00\x00abcd.", "string_bytes_max"),
        ];
        for (bytes, bound) in cases {
            let error = read(bytes, &limits).unwrap_err();
            assert!(
                matches!(&error, CheckpointError::Limit { bound: found, .. } if *found == bound),
                "{error}"
            );
        }
        let small = Limits { value_bytes_max: 100, ..Limits::default() };
        assert!(read(b"\x80\x02NNNNNNNN.", &small).unwrap_err().to_string().contains("value_bytes_max"));
    }
}
