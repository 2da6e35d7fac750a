// Tabs, and the first view.

document.getElementById("preset").textContent = overview.preset;
document.getElementById("tabs").append(...[...views].map(([name, { title }]) => h("li", {}, h("a", { href: link(name), "data-view": name }, title))));
document.getElementById("skip").addEventListener("click", () => document.getElementById("main").focus());
window.addEventListener("hashchange", show);
show();
