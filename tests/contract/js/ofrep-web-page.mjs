// ofrep-web.mjs as a page of a browser: what it says goes to the console as JSON,
// and whoever drives the browser calls begin with {"base", "key"}, then context.
import { open } from './ofrep-web.mjs';

let page;
window.begin = async (task) => {
  page = await open(task, (line) => console.log(JSON.stringify(line)));
};
window.context = (members) => page.context(members);
