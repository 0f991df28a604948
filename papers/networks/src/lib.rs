//! The papers' experiments with attention, convolutions and LSTMs: networks that burn differentiates and this library trains.

pub mod contest;
pub mod data;
pub mod experiments;
pub mod lab;
pub mod methods;
pub mod models;
pub mod store;
pub mod tasks;
