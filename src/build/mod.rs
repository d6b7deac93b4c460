pub mod copy;
pub mod sandbox;
