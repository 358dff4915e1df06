// Runs the MDN HTTP Observatory against localhost: node observatory.mjs FOLDER
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const { scan } = await import(pathToFileURL(folder + "/node_modules/@mdn/mdn-http-observatory/src/scanner/index.js").href);
const result = await scan("localhost");
const tests = Object.entries(result.tests).map(([name, t]) => ({ name, pass: t.pass, result: t.result, score: t.scoreModifier }));
console.log(JSON.stringify({ grade: result.scan.grade, score: result.scan.score, tests }));
process.exit(0);
