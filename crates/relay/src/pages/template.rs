//! Fills the values of this relay into a page.

/// Replaces each name with its value, which is escaped for HTML. A value is not searched for names.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let (mut page, mut rest) = (String::with_capacity(template.len()), template);
    let next = |rest: &str| {
        let found = values.iter().filter_map(|(name, value)| Some((rest.find(name)?, *name, *value)));
        found.min_by_key(|(at, ..)| *at)
    };
    while let Some((at, name, value)) = next(rest) {
        page.push_str(&rest[..at]);
        push_escaped(&mut page, value);
        rest = &rest[at + name.len()..];
    }
    page + rest
}

fn push_escaped(page: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            letter => page.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_not_filled_in_again() {
        let values = [("__A__", "<\"'&>__B__"), ("__B__", "b")];
        let page = fill("1 __B__ 2 __A__ 3 __A 4 __B____B__", &values);
        assert_eq!(page, "1 b 2 &lt;&quot;&#39;&amp;&gt;__B__ 3 __A 4 bb");
        assert_eq!(fill("", &values), "");
        assert_eq!(fill("ü__A__é", &[("__A__", "ö")]), "üöé");
    }
}
