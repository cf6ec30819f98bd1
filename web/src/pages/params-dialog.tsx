import type { Target } from "../api";
import { Dialog } from "../parts/dialog";
import { Message } from "../parts/message";
import { visible } from "../parts/text";

interface ParamsProps {
  target: Target;
  button: string;
  values?: Record<string, string>;
  onDone(values: Record<string, string>): void;
  onClose(): void;
}

/** Asks for the parameters of a target before it is opened. */
export function ParamsDialog({ target, button, onDone, onClose }: ParamsProps) {
  return (
    <Dialog title={visible(target.title ?? target.name)} onClose={onClose}>
      <ParamsForm target={target} button={button} onDone={onDone} onCancel={onClose} />
    </Dialog>
  );
}

interface FormProps extends Omit<ParamsProps, "onClose"> { error?: string; onCancel?(): void }

/** A field for each parameter: a choice where the owner listed values. Empty fields are left out. */
export function ParamsForm({ target, button, values = {}, error, onDone, onCancel }: FormProps) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const filled: Record<string, string> = {};
    for (const [name, value] of new FormData(event.currentTarget as HTMLFormElement)) {
      if (typeof value === "string" && value !== "") filled[name] = value;
    }
    onDone(filled);
  };
  return (
    <form onSubmit={submit} class="params">
      <div class="dialog-body">
        {error !== undefined && <Message>{error}</Message>}
        {(target.params ?? []).map((name, index) => {
          const choices = target.choices?.[name];
          const first = index === 0 ? { "data-first": true } : {};
          return (
            <label key={name} class="field">
              <span>{visible(name)}</span>
              {choices !== undefined && choices.length > 0
                ? (
                  <select name={name} {...first}>
                    <option value="">The owner's default</option>
                    {choices.map((choice) => <option key={choice} value={choice} selected={values[name] === choice}>{visible(choice)}</option>)}
                  </select>
                )
                : <input name={name} defaultValue={values[name]} maxLength={256} autocomplete="off" autocapitalize="off" spellcheck={false} {...first} />}
            </label>
          );
        })}
        <p class="help">The owner of the host decides which values are allowed. Leave a field empty for the default.</p>
      </div>
      <div class="dialog-buttons">
        {onCancel && <button type="button" class="button" onClick={onCancel}>Cancel</button>}
        <button type="submit" class="button primary">{button}</button>
      </div>
    </form>
  );
}
