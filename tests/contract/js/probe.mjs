// What the two React drivers share: an application whose one component shows
// what the hooks say, as text in the page, when the page has been painted.
import { createElement, useEffect, useRef, useState } from 'react';
import { createRoot } from 'react-dom/client';

// mount renders a provider around a probe and returns a handle:
//
//   ask(asked, user)  what the hooks say, read from the page, once they have been told of the user
//   user(user)        tell the application about another user
//   unmount()
//
// Provider gets {user, children}; Reader gets {asked, show} and calls show
// whenever the hooks have an answer that is not about to change.
export function mount(Provider, Reader, firstUser) {
  const place = document.body.appendChild(document.createElement('section'));
  const root = createRoot(place);
  const handle = { unmount: () => (root.unmount(), place.remove()) };
  let serial = 0;

  function Application() {
    const [user, setUser] = useState(firstUser);
    const [ask, setAsk] = useState(null);
    useEffect(() => {
      handle.user = setUser;
      handle.ask = (asked) =>
        new Promise((resolve) => {
          // A question leaves the page with its answer: hooks that stay would be
          // asked again for the next user, before that user's values are there.
          const answer = (answers) => (setAsk(null), resolve(answers));
          setAsk({ asked, answer, serial: ++serial });
        });
      handle.ready();
    }, []);
    return createElement(Provider, { user }, ask && createElement(Shown, { key: ask.serial, ...ask, Reader }));
  }
  const mounted = new Promise((resolve) => {
    handle.ready = resolve;
  });
  root.render(createElement(Application));
  return mounted.then(() => handle);
}

// Shown paints what the reader shows, and answers with what it painted.
function Shown({ Reader, asked, answer }) {
  const output = useRef(null);
  const [text, show] = useState('');
  useEffect(() => {
    if (text !== '') answer(JSON.parse(output.current.textContent));
  }, [text]);
  return createElement('output', { ref: output }, text, createElement(Reader, { asked, show: (answers) => show(JSON.stringify(answers)) }));
}
