//! How long a trial of random input is repeated: a little in every run of the suite, as long as one likes on demand.

/// How often to try: `BRIK_TRIALS`, else `default`.
pub fn trials(default: usize) -> usize {
    match std::env::var("BRIK_TRIALS") {
        Ok(number) => number.parse().expect("BRIK_TRIALS is a number"),
        Err(_) => default,
    }
}

/// Numbers by a seed that is printed, so that what fails can be repeated: `BRIK_SEED`, else another one each time.
pub fn random() -> fastrand::Rng {
    let seed = match std::env::var("BRIK_SEED") {
        Ok(number) => number.parse().expect("BRIK_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("BRIK_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
