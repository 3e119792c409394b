// Imports a file with speedscope's own importer and prints what it has found, as JSON.
//
// node speedscope.cjs FOLDER FILE: FOLDER holds the npm package. That has the importer only as a part of the web
// page's script, so the script runs here without its last statement, which shows the page, and against a DOM that does
// nothing.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const [, , folder, file] = process.argv;
const release = path.join(folder, "dist", "release");
const script = fs.readdirSync(release).find((name) => /^speedscope-.*\.js$/.test(name));
const source = fs.readFileSync(path.join(release, script), "utf8");
const importer = source.match(/loadFileFromBase64:\((\w+),(\w+)\)=>\{this\.loadProfile\(\(\)=>(\w+)\(\1,\2\)\)\}/);
const show = source.lastIndexOf("console.log(`speedscope v");
if (!importer || show < 0) throw new Error("this version of speedscope is put together in another way");

function nothing() {
    const get = (_, key) => {
        if (key === Symbol.toPrimitive) return () => "";
        if (key === Symbol.iterator) return function* () {};
        return key === "then" ? undefined : nothing();
    };
    const handler = { get, apply: nothing, construct: nothing, set: () => true, has: () => true };
    return new Proxy(function () {}, handler);
}

const page = { TextDecoder, TextEncoder, URL, URLSearchParams, WebAssembly, atob, btoa, performance };
Object.assign(page, { clearTimeout, queueMicrotask, setTimeout, location: { hash: "", href: "file:///" } });
for (const name of ["FileReader", "document", "localStorage", "matchMedia", "navigator", "requestAnimationFrame"])
    page[name] = nothing();
for (const name of ["addEventListener", "getComputedStyle", "history"]) page[name] = nothing();
Object.assign(page, { console: { ...console, log: () => {} }, window: page, self: page });
vm.createContext(page);
vm.runInContext(`${source.slice(0, show)}globalThis.load = ${importer[3]};})();`, page);

page.load(path.basename(file), fs.readFileSync(file).toString("base64")).then((group) => {
    const profiles = group.profiles.map((profile) => {
        const frames = [];
        profile.forEachFrame((frame) =>
            frames.push({ name: frame.name, file: frame.file ?? "", line: frame.line ?? 0, own: frame.getSelfWeight() }),
        );
        return { name: profile.getName(), unit: profile.getWeightUnit(), total: profile.getTotalWeight(), frames };
    });
    process.stdout.write(JSON.stringify(profiles));
});
