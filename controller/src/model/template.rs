//! A recipe in which an image is left open: the JSON string `"{{image}}"` stands for what was pushed. Only whole strings
//! are filled, so a payload that holds braces of its own stays as it is.

use schema::recipe::Recipe;

/// What stands for the image.
const OPEN: &str = "\"{{image}}\"";

/// The recipe for an image, as JSON text. `image` is `repository@digest`, which needs no escaping.
pub fn fill(template: &str, image: &str) -> String {
    template.replace(OPEN, &format!("\"{image}\""))
}

/// Whether a filled recipe installs or runs that image, by its digest.
pub fn names(recipe: &Recipe, image: &str) -> bool {
    let drivers = recipe.drivers.iter().flatten();
    recipe.oci_url.iter().chain(recipe.tools.values()).chain(drivers).any(|found| found == image)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "images/debian@sha256:abc";

    #[test]
    fn whole_strings_are_filled_and_nothing_else() {
        for (template, filled) in [
            (r#"{"oci_url":"{{image}}"}"#, r#"{"oci_url":"images/debian@sha256:abc"}"#),
            (
                r#"{"a":["{{image}}", "{{image}}"]}"#,
                r#"{"a":["images/debian@sha256:abc", "images/debian@sha256:abc"]}"#,
            ),
            (r#"{"user_data":"x {{image}}"}"#, r#"{"user_data":"x {{image}}"}"#),
            (r#"{"user_data":"say \"{{image}}\""}"#, r#"{"user_data":"say \"{{image}}\""}"#),
            (r#"{"user_data":"{{ image }}"}"#, r#"{"user_data":"{{ image }}"}"#),
        ] {
            assert_eq!(fill(template, IMAGE), filled, "{template}");
        }
    }

    #[test]
    fn a_recipe_names_an_image_where_images_are_named() {
        let recipe = |text: &str| -> Recipe { serde_json::from_str(text).unwrap() };
        for (text, wanted) in [
            (r#"{"task_target":"a.target","oci_url":"images/debian@sha256:abc"}"#, true),
            (r#"{"task_target":"a.target","tools":{"wipe":"images/debian@sha256:abc"}}"#, true),
            (r#"{"task_target":"a.target","drivers":["images/debian@sha256:abc"]}"#, true),
            (r#"{"task_target":"a.target","notes":"images/debian@sha256:abc"}"#, false),
            (r#"{"task_target":"a.target","oci_url":"images/debian:trixie"}"#, false),
        ] {
            assert_eq!(names(&recipe(text), IMAGE), wanted, "{text}");
        }
    }
}
