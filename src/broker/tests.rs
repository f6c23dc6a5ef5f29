//! Tests that need the broker's insides.

mod hostile;
