//! One frame is left: its caller's registers from its own, by a rule, by a row of call frame
//! information, or by the frame pointer.

use super::cfi::{Bytes, ExpressionBytes, Row};
use super::machine::{Machine, REGISTERS, Registers};
use super::rule::Rule;
use super::stack::{Outside, StackBytes};
use gimli::{
    CfaRule, Encoding, Evaluation, EvaluationResult, Register, RegisterRule, UnwindExpression,
    Value,
};

/// A frame that is to be left.
pub(super) struct Frame<'a> {
    pub(super) machine: Machine,
    pub(super) registers: &'a mut Registers,
    pub(super) stack: StackBytes<'a>,
    /// It was interrupted rather than left by a call.
    pub(super) is_interrupted: bool,
}

/// Where a frame was left to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) return_address: u64,
    /// Where on the stack it was, if it was there.
    pub(super) saved_at: Option<u64>,
    /// What was left was a signal's frame: its caller was interrupted.
    pub(super) is_interrupted: bool,
}

/// Why a frame could not be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    /// It is the outermost.
    Outermost,
    /// What is needed lies beyond what was copied of the stack.
    Cut,
    /// It lies beyond what can be copied of one.
    Far,
    /// A register is needed that is not known, or what was found cannot be.
    Lost,
}

impl Frame<'_> {
    /// By a rule.
    pub(super) fn leave_by_rule(&mut self, rule: &Rule) -> Result<Caller, Stuck> {
        let base = self.registers.get(rule.cfa_register).ok_or(Stuck::Lost)?;
        let cfa = base.wrapping_add_signed(rule.cfa_offset.into());
        self.check_advance(cfa, rule.is_signal_frame)?;
        let number = self.machine.return_address();
        let (mut return_address, mut saved_at) = (None, None);
        for (register, words) in self.machine.saved().iter().zip(rule.saved) {
            if words == 0 {
                continue;
            }
            let addr = cfa.wrapping_add_signed(i64::from(words) * 8);
            let found = self.stack.word(addr);
            if *register == number {
                return_address = Some(found.map_err(stuck)?);
                saved_at = Some(addr);
            }
            self.restore(*register, found);
        }
        self.finish(cfa, (return_address, saved_at), rule.is_signal_frame)
    }

    /// By a row that no rule can say.
    pub(super) fn leave_by_row(
        &mut self,
        row: &Row,
        expressions: &dyn ExpressionBytes,
        (encoding, is_signal_frame): (Encoding, bool),
    ) -> Result<Caller, Stuck> {
        let (before, stack) = (*self.registers, self.stack);
        let evaluate = |place: &UnwindExpression<usize>, pushed| {
            let bytes = expressions.expression(place)?.0;
            evaluate(bytes, encoding, pushed, &before, &stack)
        };
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                let base = number_of(*register).and_then(|number| before.get(number));
                base.map(|base| base.wrapping_add_signed(*offset))
            }
            CfaRule::Expression(place) => evaluate(place, None),
        };
        let cfa = cfa.ok_or(Stuck::Lost)?;
        self.check_advance(cfa, is_signal_frame)?;
        let number = self.machine.return_address();
        let (mut return_address, mut saved_at) = (None, None);
        let mut sp = cfa;
        for (register, how) in row.registers() {
            let Some(register) = number_of(*register) else {
                continue;
            };
            let read = |addr: Option<u64>| match addr {
                Some(addr) => stack.word(addr),
                None => Err(Outside::Below),
            };
            let found = match how {
                RegisterRule::Offset(offset) => read(Some(cfa.wrapping_add_signed(*offset))),
                RegisterRule::Expression(place) => read(evaluate(place, Some(cfa))),
                RegisterRule::ValOffset(offset) => Ok(cfa.wrapping_add_signed(*offset)),
                RegisterRule::ValExpression(place) => {
                    evaluate(place, Some(cfa)).ok_or(Outside::Below)
                }
                RegisterRule::Register(other) => number_of(*other)
                    .and_then(|other| before.get(other))
                    .ok_or(Outside::Below),
                RegisterRule::Constant(value) => Ok(*value),
                RegisterRule::Undefined if register == number => return Err(Stuck::Outermost),
                // What has no value behind the call is not asked for.
                _ => continue,
            };
            if register == number {
                return_address = Some(found.map_err(stuck)?);
                saved_at = match how {
                    RegisterRule::Offset(offset) => Some(cfa.wrapping_add_signed(*offset)),
                    _ => None,
                };
            }
            if register == self.machine.sp() {
                sp = found.map_err(stuck)?;
            } else {
                self.restore(register, found);
            }
        }
        self.finish(sp, (return_address, saved_at), is_signal_frame)
    }

    /// By the frame pointer: for code that no call frame information covers. x86_64 and aarch64
    /// both keep the caller's frame pointer where it points, and the return address behind it.
    pub(super) fn leave_by_frame_pointer(&mut self) -> Result<Caller, Stuck> {
        let fp = self.registers.get(self.machine.fp()).ok_or(Stuck::Lost)?;
        if fp == 0 && !self.is_interrupted {
            // Where threads begin it is 0 (System V ABI; AAPCS64).
            return Err(Stuck::Outermost);
        }
        let sp = self.registers.get(self.machine.sp()).ok_or(Stuck::Lost)?;
        if fp < sp || fp % 8 != 0 {
            return Err(Stuck::Lost);
        }
        let saved_at = fp.wrapping_add(8);
        let (caller_fp, return_address) = (self.stack.word(fp), self.stack.word(saved_at));
        let caller_fp = caller_fp.map_err(stuck)?;
        let return_address = return_address.map_err(stuck)?;
        self.registers.set(self.machine.fp(), Some(caller_fp));
        let found = (Some(return_address), Some(saved_at));
        self.finish(fp.wrapping_add(16), found, false)
    }

    /// Where the return address was found without any rule.
    pub(super) fn leave_at(&mut self, saved_at: u64, return_address: u64) -> Result<Caller, Stuck> {
        let cfa = saved_at.wrapping_add(8);
        self.check_advance(cfa, false)?;
        self.finish(cfa, (Some(return_address), Some(saved_at)), false)
    }

    /// A caller's frame begins above its callee's: what says otherwise would lead in circles. Only a
    /// signal's frame may be on another stack than the one it interrupted.
    fn check_advance(&self, cfa: u64, is_signal_frame: bool) -> Result<(), Stuck> {
        let sp = self.registers.get(self.machine.sp()).ok_or(Stuck::Lost)?;
        let may_stay = self.is_interrupted && self.machine.has_link_register();
        match is_signal_frame || cfa > sp || (cfa == sp && may_stay) {
            true => Ok(()),
            false => Err(Stuck::Lost),
        }
    }

    /// A saved register, as it was found. In an epilogue the CFI may still tell of a register that
    /// was popped: it lies below the stack pointer, and is what it is.
    fn restore(&mut self, register: u8, found: Result<u64, Outside>) {
        match found {
            Err(Outside::Below) if self.is_interrupted => {}
            found => self.registers.set(register, found.ok()),
        }
    }

    fn finish(
        &mut self,
        sp: u64,
        (return_address, saved_at): (Option<u64>, Option<u64>),
        is_signal_frame: bool,
    ) -> Result<Caller, Stuck> {
        let return_address = match return_address {
            Some(found) => found,
            // It was not saved. A function that has called another one must have.
            None if self.is_interrupted => {
                let number = self.machine.return_address();
                self.registers.get(number).ok_or(Stuck::Lost)?
            }
            None => return Err(Stuck::Lost),
        };
        if return_address == 0 {
            // Whoever makes a stack by hand begins it so, with registers of 0 (fibers of Ruby and D). But 0 is also
            // what lies most often where no return address is.
            return Err(match self.registers.get(self.machine.fp()) {
                Some(0) => Stuck::Outermost,
                _ => Stuck::Lost,
            });
        }
        self.registers.set(self.machine.sp(), Some(sp));
        self.registers.set(self.machine.pc(), Some(return_address));
        Ok(Caller {
            return_address,
            saved_at,
            is_interrupted: is_signal_frame,
        })
    }
}

fn stuck(outside: Outside) -> Stuck {
    match outside {
        Outside::Above => Stuck::Cut,
        Outside::Far => Stuck::Far,
        Outside::Below => Stuck::Lost,
    }
}

/// `None` for a register that is nobody's concern.
fn number_of(register: Register) -> Option<u8> {
    let number = u8::try_from(register.0).ok()?;
    (usize::from(number) < REGISTERS).then_some(number)
}

/// The value of a DWARF expression; `pushed` lies on its stack at the beginning.
fn evaluate(
    bytes: Bytes<'_>,
    encoding: Encoding,
    pushed: Option<u64>,
    registers: &Registers,
    stack: &StackBytes<'_>,
) -> Option<u64> {
    let mut evaluation = Evaluation::new(bytes, encoding);
    // Each step has its byte: where stacks are unwound, none jumps back.
    evaluation.set_max_iterations(bytes.len() as u32);
    if let Some(value) = pushed {
        evaluation.set_initial_value(value);
    }
    let mut result = evaluation.evaluate().ok()?;
    loop {
        result = match result {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = registers.get(number_of(register)?)?;
                evaluation.resume_with_register(Value::Generic(value))
            }
            EvaluationResult::RequiresMemory {
                address, size: 8, ..
            } => evaluation.resume_with_memory(Value::Generic(stack.word(address).ok()?)),
            _ => return None,
        }
        .ok()?;
    }
    evaluation.value_result()?.to_u64(u64::MAX).ok()
}
