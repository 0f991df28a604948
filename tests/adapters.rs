//! Claim: an adapter that gives no device is passed over, by the code that every example, bench and test opens theirs
//! with; where none gives one, that is an error that says what to install. Needs no GPU.

#[path = "../examples/support/adapter.rs"]
mod adapter;

use adapter::{candidates, passing_over};

#[test]
fn what_gives_no_device_is_passed_over() {
    let open = |x: &i32| if x % 2 == 0 { Ok(10 * x) } else { Err("odd") };
    let opened: Vec<_> = passing_over([1, 2, 3, 4], i32::to_string, open).collect();
    assert_eq!(opened, [(2, 20), (4, 40)]);
    // No more are opened than are asked for.
    let open = |x: &i32| if *x < 3 { Ok(()) } else { panic!("opened") as Result<(), &str> };
    assert_eq!(passing_over([1, 3], i32::to_string, open).next(), Some((1, ())));
    assert_eq!(passing_over([1, 3], i32::to_string, |_| Err::<(), _>("none")).next(), None);
}

#[test]
fn a_name_that_no_adapter_has() {
    let message = candidates("no such adapter").unwrap_err().to_string();
    let installs = message.contains("mesa-vulkan-drivers");
    assert!(installs || message.contains("'no such adapter'; there are: "), "{message}");
}
