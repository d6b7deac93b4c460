//! `strategy.matrix`: the instances of a job.

use serde_json::{Map, Value};

/// The values of `matrix` in one instance.
pub(super) type Values = Map<String, Value>;

/// As GitHub has it.
const MOST: usize = 256;

/// One instance without a matrix.
///
/// # Errors
/// Where the matrix is not written out, or has more instances than GitHub takes.
pub(super) fn instances(job: &Value) -> Result<Vec<Values>, String> {
    let Some(matrix) = job.get("strategy").and_then(|strategy| strategy.get("matrix")) else { return Ok(vec![Values::new()]) };
    let Value::Object(matrix) = matrix else { return Err("its matrix is computed in another job".to_owned()) };
    let mut instances = vec![Values::new()];
    for (key, values) in matrix.iter().filter(|(key, _)| !matches!(key.as_str(), "include" | "exclude")) {
        let Value::Array(values) = values else { return Err(format!("{key} of its matrix is computed in another job")) };
        if instances.len().saturating_mul(values.len()) > MOST {
            return Err(format!("its matrix has more than {MOST} instances"));
        }
        let with = |instance: &Values, value: &Value| {
            let mut instance = instance.clone();
            instance.insert(key.clone(), value.clone());
            instance
        };
        instances = instances.iter().flat_map(|instance| values.iter().map(|value| with(instance, value)).collect::<Vec<_>>()).collect();
    }
    let original: Vec<String> = matrix.keys().cloned().collect();
    instances.retain(|instance| {
        !instance.is_empty() && !tables(matrix, "exclude").any(|out| out.iter().all(|(key, value)| instance.get(key) == Some(value)))
    });
    for extra in tables(matrix, "include") {
        let fits = |instance: &Values| {
            let keys = extra.iter().filter(|(key, _)| original.contains(key));
            keys.clone().count() > 0 && keys.into_iter().all(|(key, value)| instance.get(key) == Some(value))
        };
        let mut added = false;
        for instance in instances.iter_mut().filter(|instance| fits(instance)) {
            instance.extend(extra.clone());
            added = true;
        }
        if !added {
            instances.push(extra.clone());
        }
    }
    if instances.len() > MOST { Err(format!("its matrix has more than {MOST} instances")) } else { Ok(instances) }
}

fn tables<'v>(matrix: &'v Values, key: &str) -> impl Iterator<Item = &'v Values> {
    matrix.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_matrix_makes_one_instance_of_each_combination() {
        let of = |matrix: Value| instances(&json!({"strategy": {"matrix": matrix}})).map(|all| json!(all));
        assert_eq!(of(json!({"s": ["a", "b"]})), Ok(json!([{"s": "a"}, {"s": "b"}])));
        assert_eq!(of(json!({"include": [{"s": "a", "c": 1}, {"s": "b"}]})), Ok(json!([{"s": "a", "c": 1}, {"s": "b"}])));
        let both = json!({"s": ["a", "b"], "p": [1, 2], "exclude": [{"s": "a", "p": 2}], "include": [{"s": "b", "x": 9}]});
        assert_eq!(of(both), Ok(json!([{"s": "a", "p": 1}, {"s": "b", "p": 1, "x": 9}, {"s": "b", "p": 2, "x": 9}])));
        assert!(of(json!("${{ fromJSON(x) }}")).is_err() && of(json!({"s": "${{ x }}"})).is_err());
        let many: Vec<usize> = (0..100).collect();
        assert!(of(json!({"a": many, "b": many, "c": many})).is_err());
        assert_eq!(instances(&json!({})), Ok(vec![Values::new()]));
    }
}
